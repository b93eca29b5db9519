"""Each bill's account: what m3ter's lines add up to, what stands for it at Chargebee, and what is known to be open.

Worked out from the vendors' rows. The ledger says only which line is whose, what a person settled, and which
charge bears another bill's surplus; and its last run what is set aside or waits. No rule of the product is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World
from tests.histories.known import Known
from tests.histories.lines import credits_given, lines_of_ours

TOO_MUCH = ("MB-BILL-UNAPPROVED", "MB-BILL-DELETED")
"""Set aside with what stands, not with what is lacking."""


@dataclass
class Account:
    """One bill in minor units; ``open`` is what waits or is set aside: still to be charged, or negative.

    ``whole``: the bill is set aside as such, and nobody can say with which amount.
    """

    bill_id: str
    total: int = 0
    charged: int = 0
    settled: int = 0
    open: int = 0
    whole: bool = False
    told: list[str] = field(default_factory=list)

    def tell(self) -> str:
        """The account in words, one entry a line."""
        sums = f"{self.charged} charged + {self.settled} settled + {self.open} open, {self.total} wanted"
        return "\n      ".join([f"bill {self.bill_id}: {sums}", *sorted(self.told)])


PLACES = {"JPY": 0, "BHD": 3}
"""Decimal places that Chargebee counts in, where they are not two; of three only where the setting says so."""


def minor(bill: Row) -> int:
    """A bill's total in the minor unit of its currency, half away from zero."""
    exact = sum((Decimal(str(line["convertedSubtotal"])) for line in bill["lineItems"]), Decimal(0))
    return int(exact.scaleb(PLACES.get(bill["currency"], 2)).quantize(Decimal(1), "ROUND_HALF_UP"))


def accounts(world: World, known: Known, report: Any) -> dict[str, Account]:
    """The account of every bill that anything is known of; ``report`` is that of the last ``sync_bills``."""
    found: dict[str, Account] = {}

    def of(bill_id: str) -> Account:
        return found.setdefault(bill_id, Account(bill_id))

    for bill in world.m3ter.bills.rows():
        of(bill["id"]).total = minor(bill) if bill["status"] == "APPROVED" else 0
    for bill_id, amount, words in _charged(world, known):
        of(bill_id).charged += amount
        of(bill_id).told.append(f"{amount} {words}")
    for portion, amount in known.settled.items():
        of(portion[0]).settled += amount
    _open(report, of)
    return found


def complaints(found: Iterable[Account]) -> Iterator[str]:
    """Bills of which a minor unit is missing or too much, with nobody knowing."""
    for one in found:
        if not one.whole and one.charged + one.settled + one.open != one.total:
            yield one.tell()


def _charged(world: World, known: Known) -> Iterator[tuple[str, int, str]]:
    """(bill, minor units, words) of all that stands at Chargebee for it, and of what it bears for other bills."""
    amounts = {(one.invoice_id, one.line_id): one.amount for one in lines_of_ours(world)}
    for charge in known.charges:
        place = (charge.state["invoice_id"], charge.remote_id)
        if charge.state.get("gone_since"):
            amount: int | None = charge.state["amount"]
        else:
            amount = amounts.get(place) if charge.remote_id else 0
        if amount is None:
            continue
        yield charge.state["bill_id"], amount, f"stands at {place} for {charge.key[1:]}"
        for part in charge.state.get("carried", ()):
            yield charge.state["bill_id"], part["amount"], f"borne by {place} for bill {part['bill_id']}"
            if not part.get("alone"):
                yield part["bill_id"], -part["amount"], f"borne by {place} of bill {charge.state['bill_id']}"
    given = dict(credits_given(world))
    for credit in known.credits:
        yield credit.state["bill_id"], -given.get(credit.remote_id, 0), f"credit {credit.remote_id}"


def _open(report: Any, of: Callable[[str], Account]) -> None:
    for row in (*report.quarantined, *report.waiting):
        account = of(row["key"][0])
        if len(row["key"]) == 1:
            account.whole = True
            account.told.append(f"{row.get('code', 'waiting')}: the bill as such, {row.get('message')}")
        elif row.get("amount") is not None:
            amount = -row["amount"] if row.get("code") in TOO_MUCH else row["amount"]
            account.open += amount
            account.told.append(f"{amount} {row.get('code', 'waiting')} {row['key'][1:]} {row.get('message')}")


def against_report(found: dict[str, Account], report: Any) -> Iterator[str]:
    """The product's own comparison must show the same bills at the same amounts, and explain what is not equal."""
    yield from (f"reconcile finds drift: {row}" for row in report.drift)
    shown = {row["bill_id"]: row for row in report.bills}
    for bill_id, account in found.items():
        row = shown.get(bill_id)
        if row is None:
            if account.charged or account.settled or account.total:
                yield f"reconcile does not show {account.tell()}"
            continue
        ours = (account.total, account.charged, account.settled)
        theirs = (row["total"], row["charged"], row["settled"])
        if ours != theirs:
            yield f"reconcile shows {theirs} (total, charged, settled), not {ours}: {account.tell()}"
        if not row["equal"] and not row["why"]:
            yield f"reconcile does not say why {row} is not equal: {account.tell()}"
