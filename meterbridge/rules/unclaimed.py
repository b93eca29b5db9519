"""Lines of ours that no charge claims, at the side of bills that the ledger does not know.

A bill that was recalculated after it was charged may have no line any more for what
stands on its invoice: other days, other terms, another key. A ledger knows the line by
its id. Without one, a charge for the same days would come on top of it; so the portion
is set aside with both amounts, and a person decides. So is a bill that m3ter maps to an
invoice and of which nothing stands: a person took its line off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.keys import REFERENCE
from meterbridge.rules.money import amount_text
from meterbridge.rules.recall import NETTED
from meterbridge.rules.records import BillCase, Decision, Intent, Invoice, InvoiceLine, Key, Quarantined
from meterbridge.rules.standing import GONE


@dataclass(frozen=True, slots=True)
class Suspect:
    """A portion that would be charged, and lines of ours beside it that may be just that.

    ``mapped`` are the invoices that m3ter maps its bill to, when nothing of the bill stands anywhere.
    """

    portion: Key
    lines: tuple[tuple[str, InvoiceLine], ...]
    mapped: tuple[str, ...] = ()


def suspects(case: BillCase, decided: Sequence[Decision], policy: BillPolicy) -> Iterator[Suspect]:
    """Find the portions of a bill new to the ledger that would be charged beside lines of ours for the same days."""
    if case.known:
        return
    new = [one for one in decided if isinstance(one, Intent) and _creates(one)]
    stands = bool(case.standing) or any(isinstance(one, Intent) and one.action == "adopt" for one in decided)
    mapped = () if stands else tuple(mark for mark in case.marks if not mark.startswith(NETTED))
    for owner in dict.fromkeys(one.key[1] for one in new):
        charges = [charge for one in new if one.key[1] == owner for charge in one.payload.get("lines", [one.payload])]
        lines = tuple(
            (invoice.id, line)
            for invoice, line in _ours(case, policy, owner)
            if any(_same_days(line, charge) for charge in charges)
        )
        if lines or mapped:
            yield Suspect((case.bill.id, owner), lines, mapped)


def hold_suspects(decisions: Sequence[Decision], found: Iterable[Suspect]) -> list[Decision]:
    """Set aside what would be charged beside a line that nobody claims, whole: what stands of it is taken over later.

    Lines that any bill of the run takes over are claimed.
    """
    claimed = {one.payload["line_id"] for one in decisions if isinstance(one, Intent) and one.action == "adopt"}
    after = list(decisions)
    for suspect in found:
        lines = [(invoice_id, line) for invoice_id, line in suspect.lines if line.id not in claimed]
        if lines or suspect.mapped:
            own = [one for one in after if one.key[:2] == suspect.portion and one.kind in ("charge", "charge_set")]
            after = [one for one in after if one not in own]
            after.append(_aside(suspect, own, lines))
    return after


def _creates(intent: Intent) -> bool:
    return intent.kind in ("charge", "charge_set") and intent.action in ("create", "net")


def _ours(case: BillCase, policy: BillPolicy, owner: str) -> Iterator[tuple[Invoice, InvoiceLine]]:
    """Lines of the subscription with a reference of ours, or with a charge item on an invoice that m3ter maps."""
    items = {rule.item_price for rule in policy.charges}
    known = case.owned_lines | {line.line_id for line in case.standing}
    for invoice in case.invoices:
        if invoice.status in GONE or invoice.currency != case.bill.currency:
            continue
        for line in invoice.lines:
            if line.id in known or (line.subscription_id or invoice.subscription_id) != owner:
                continue
            if _is_marked(line, policy.mark) or (invoice.id in case.marks and line.entity_id in items):
                yield invoice, line


def _is_marked(line: InvoiceLine, mark: str) -> bool:
    """True if the line carries a reference of this connection, or an older one that tells of none."""
    found = REFERENCE.search(line.description)
    return found is not None and found[2] in (None, mark)


def _same_days(line: InvoiceLine, charge: dict[str, Any]) -> bool:
    if line.date_from is None or line.date_to is None:
        return True
    first, last = int(charge["date_from"]), int(charge["date_to"])
    return line.date_from.timestamp() <= last and line.date_to.timestamp() >= first


def _aside(suspect: Suspect, own: Sequence[Decision], lines: Sequence[tuple[str, InvoiceLine]]) -> Quarantined:
    """The whole portion at what its bill wants of it: nothing of it is in the ledger yet."""
    portion = suspect.portion
    intents = [one for one in own if isinstance(one, Intent)]
    currency = next((one.currency for one in intents if one.currency), "")
    new = sum(one.amount or 0 for one in intents if _creates(one))
    parts = (part["amount"] for one in intents for part in one.state.get("carried", ()))
    total = sum(one.amount or 0 for one in intents) + sum(parts)
    would = f"bill {portion[0]} would charge {amount_text(new, currency)} to subscription {portion[1]}"
    if not lines:
        where = ", ".join(suspect.mapped)
        message = f"{would}, but m3ter maps it to invoice {where}, and no line of it stands: it was charged before"
        return Quarantined("charge", portion, "MB-LINE-CHANGED", message, total, currency)
    stands = ", ".join(
        f"line {line.id} of invoice {name} ({amount_text(line.amount, currency)})" for name, line in lines
    )
    message = f"{would} beside {stands}: ours, for the same days, and of no charge that bills have now"
    return Quarantined("charge", portion, "MB-BILL-CHANGED", message, total, currency)
