"""A person invoiced a bill by hand: its open portions count as settled at their amounts. Needs no vendor."""

from __future__ import annotations

from dataclasses import dataclass

from meterbridge.errors import RetriableError, SetupError
from meterbridge.ledger import bills, intents, quarantine
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer, moment
from meterbridge.rules.gate import GATED
from meterbridge.rules.records import Key
from tasks import set_aside

OPEN = ("waiting", "quarantined", "proposed")


@dataclass(frozen=True, slots=True)
class Settled:
    """A portion settled by hand, with its amount in minor units."""

    bill_id: str
    subscription_id: str
    amount: int
    currency: str


def mark_invoiced(tx: Writer, bill_id: str, subscription_id: str | None, by: str, note: str) -> list[Settled]:
    """Settle every portion of a bill that is waiting, set aside or proposed; or one subscription's alone.

    What was intended for it is dismissed, what was set aside is closed. A later
    recalculation sends only the difference.

    Raises:
        SetupError: MB-COMMAND, there is no such portion, or none that is open.
        RetriableError: MB-HELD, a write of it is under way.
    """
    tx.take_turn("record")
    portions = [one for one in bills.portions(tx, bill_id=bill_id) if subscription_id in (None, one.subscription_id)]
    chosen = [one for one in portions if one.state in OPEN]
    if not chosen:
        raise SetupError("MB-COMMAND", _why_none(bill_id, subscription_id, portions), key=bill_id)
    rows = [row for row in intents.open_rows(tx) if row.kind in GATED and row.key[0] == bill_id]
    aside = [row for row in quarantine.list(tx) if row.kind in GATED and row.key[0] == bill_id]
    return [_settle(tx, one, rows, aside, said=(by, note)) for one in chosen]


def _why_none(bill_id: str, subscription_id: str | None, portions: list[bills.Portion]) -> str:
    what = f"bill {bill_id}" if subscription_id is None else f"subscription {subscription_id} of bill {bill_id}"
    if portions:
        states = ", ".join(sorted({one.state for one in portions}))
        return f"{what} has nothing that is open: it is {states}"
    return f"the ledger knows no portion of {what}; a bill that is set aside whole must be cleared or dismissed as such"


def _settle(
    tx: Writer,
    portion: bills.Portion,
    open_rows: list[IntentRow],
    set_aside_rows: list[quarantine.QuarantineRow],
    *,
    said: tuple[str, str],
) -> Settled:
    key: Key = (portion.bill_id, portion.subscription_id)
    rows = [row for row in open_rows if row.key[:2] == key]
    aside = [row for row in set_aside_rows if row.key[:2] == key]
    now = moment(tx)
    for row in rows:
        if row.state not in ("proposed", "ready") or (row.lease_until or 0) > now:
            raise RetriableError("MB-HELD", f"a write of bill {key[0]} for subscription {key[1]} is under way")
    amount = sum(row.amount or 0 for row in rows) + sum(set_aside.settled_by(row) for row in aside)
    if portion.state == "waiting":
        amount += portion.wanted
    for row in rows:
        intents.dismiss(tx, row.kind, row.key)
    _dismiss_mappings(tx, rows)
    for one in aside:
        quarantine.dismiss(tx, one.kind, one.key, *said)
        intents.dismiss(tx, one.kind, one.key)
    set_aside.let_go(tx, key)
    if amount:
        set_aside.settle(tx, key, amount, portion.currency, f"settled by {said[0]}: {said[1]}")
    return Settled(portion.bill_id, portion.subscription_id, amount, portion.currency)


def _dismiss_mappings(tx: Writer, rows: list[IntentRow]) -> None:
    """What would have told m3ter of these charges."""
    gone = {(row.kind, row.key) for row in rows}
    for row in intents.open_rows(tx, ("external_mapping",)):
        if any((ref.kind, ref.key) in gone for ref in row.depends_on):
            intents.dismiss(tx, row.kind, row.key)
