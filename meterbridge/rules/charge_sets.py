"""A portion whose lines go out together, in one call: an invoice of their own, or unbilled charges.

What such a call makes has no id until it is answered, so the lines carry their
references in texts that are read back. The call is atomic: all lines, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.booked import Wish, is_alike
from meterbridge.rules.charge_intents import decided_on, facts_of, state_of, words_of
from meterbridge.rules.charge_text import name_charge
from meterbridge.rules.keys import canonical, fingerprint, reference
from meterbridge.rules.money import major_text
from meterbridge.rules.portions import Wanted
from meterbridge.rules.records import Bill, Intent, InvoiceLine, Key, Ref, SubscriptionFacts

Method = Literal["create_invoice", "unbilled"]

WHERE: dict[Method, str] = {"create_invoice": "on an invoice of its own", "unbilled": "as unbilled charges"}


def create_set(
    bill: Bill,
    creations: Sequence[Wanted],
    subscription: SubscriptionFacts,
    policy: BillPolicy,
    exponent: int,
    *,
    method: Method,
    remarks: tuple[str, ...] = (),
    replaced: Sequence[Intent] = (),
) -> Intent:
    """Intend all these lines of one portion in one call, each with its own description and reference.

    The natural key follows from the lines' keys: the same lines at other amounts are
    the same set, and a set whose answer was lost is recognised by the next decision.
    ``replaced`` are the removals that must be done first; a late list may still show
    their lines, with the very references of the new ones.
    """
    lines = [_line(bill, one, policy) for one in creations]
    key = set_key(bill.id, subscription.id, [one.key for one in creations])
    amount = sum(one.amount for one in creations)
    money = f"{major_text(amount, exponent)} {bill.currency}"
    words = ", ".join(name_charge(one.charge) for one in creations[:3])
    more = f" and {len(creations) - 3} more" if len(creations) > 3 else ""
    reason = f"{words}{more} of bill {bill.id} for subscription {subscription.id}: {money} {WHERE[method]}"
    payers = [name for name in (subscription.invoice_owner_id, subscription.customer_id) if name]
    facts = {"method": method, "subscription_id": subscription.id, "currency": bill.currency}
    before = {"replaces": [name for one in replaced for name in one.payload["line_ids"]]} if replaced else {}
    return Intent(
        kind="charge_set",
        key=key,
        action="create",
        target="chargebee",
        payload={**facts, "customers": payers, "lines": lines, **before, **decided_on(bill)},
        fingerprint=fingerprint([facts, [line["fingerprint"] for line in lines]]),
        reason="; ".join([reason, *(note for one in creations for note in one.notes), *remarks]),
        scope=f"subscription:{subscription.id}",
        depends_on=tuple(Ref(one.kind, one.key) for one in replaced),
        state={"bill_id": bill.id, "subscription_id": subscription.id},
        amount=amount,
        currency=bill.currency,
        source_version=bill.version,
        warnings=remarks,
    )


def set_key(bill_id: str, subscription_id: str, keys: Iterable[Key]) -> Key:
    """The natural key of a call with the lines of these keys."""
    return (bill_id, subscription_id, canonical(["set", fingerprint(sorted(map(canonical, keys)))]))


def _line(bill: Bill, wanted: Wanted, policy: BillPolicy) -> dict[str, Any]:
    facts = facts_of(bill, wanted.charge, wanted.amount)
    mark = reference(wanted.key, policy.mark)
    return {
        "key": list(wanted.key),
        **facts,
        "description": words_of(wanted.charge, policy, mark),
        "reference": mark,
        "fingerprint": fingerprint(facts),
        "state": state_of(bill, wanted.charge, facts, mark),
    }


@dataclass(slots=True)
class Paired:
    """What lines show of a set: their ids by the wish's place, wrong ones, and lines beyond what was asked for."""

    booked: dict[int, str] = field(default_factory=dict)
    wrong: dict[int, InvoiceLine] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Nothing of the set is there."""
        return not (self.booked or self.wrong)


def pair(wishes: Sequence[Wish], lines: Sequence[InvoiceLine], taken: Collection[str] = ()) -> Paired:
    """Give each wish a line of its own: by reference first, then by looks; the right amount before another.

    Args:
        lines: As they stand now, of one invoice or of the unbilled charges.
        taken: Ids of lines that stood before the call, or that other charges own.
    """
    found = Paired()
    free = [line for line in lines if line.id not in taken]
    for named, right in ((True, True), (False, True), (True, False), (False, False)):
        for index, wish in enumerate(wishes):
            if index in found.booked or index in found.wrong:
                continue
            line = next((one for one in free if _fits(wish, one, named=named, right=right)), None)
            if line is not None:
                free.remove(line)
                if right:
                    found.booked[index] = line.id
                else:
                    found.wrong[index] = line
    found.beyond = [line.id for line in free if any(is_alike(wish, line) for wish in wishes)]
    return found


def _fits(wish: Wish, line: InvoiceLine, *, named: bool, right: bool) -> bool:
    if not is_alike(wish, line) or (line.amount == wish.amount) is not right:
        return False
    return not named or is_named(wish, line)


def is_named(wish: Wish, line: InvoiceLine) -> bool:
    """True if the line's text carries the wish's reference."""
    return line.description.endswith(f"[{wish.reference}]")
