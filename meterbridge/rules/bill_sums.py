"""Bill by bill: what m3ter's total is in minor units, and what stands for it at Chargebee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from meterbridge.errors import RecordRefused
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.explained import Reason
from meterbridge.rules.money import exact_sum, exponent, to_minor
from meterbridge.rules.reconcile import StandingCharge
from meterbridge.rules.records import Bill


@dataclass(frozen=True, slots=True)
class BillSum:
    """One bill; amounts in minor units.

    ``total`` is what the bill wants: nothing unless it is approved, None where that cannot be said. ``charged`` are
    our lines on invoices and our credits, ``settled`` what people settled by hand; ``why`` says what is known of a
    bill that is not equal.
    """

    bill_id: str
    customer_id: str
    status: str
    currency: str
    total: int | None
    charged: int
    settled: int
    difference: int | None
    equal: bool
    why: str


def bill_sums(
    bills: Sequence[Bill], standing: Iterable[StandingCharge], reasons: Sequence[Reason], policy: BillPolicy
) -> list[BillSum]:
    """Sum up every bill that is approved or has something standing for it, in the order given."""
    charged: Counter[tuple[str, str]] = Counter()
    settled: Counter[tuple[str, str]] = Counter()
    currencies: dict[str, str] = {}
    for one in standing:
        (settled if one.by_hand else charged)[one.bill_id, one.currency] += one.amount
        currencies[one.bill_id] = one.currency
    why: dict[str, list[str]] = {}
    for reason in reasons:
        why.setdefault(reason.key[0], []).append(f"{reason.why} {reason.code}".strip())
    rows = []
    # m3ter tells nothing of a deleted bill any more; what stands for it tells the currency.
    told_by = {bill.id: currencies.get(bill.id, bill.currency) for bill in bills if bill.status == "DELETED"}
    for bill in (replace(one, currency=told_by.get(one.id, one.currency)) for one in bills):
        place = (bill.id, bill.currency)
        if bill.status == "APPROVED" or charged[place] or settled[place]:
            told = ", ".join(dict.fromkeys(why.get(bill.id, ())))
            rows.append(_sum(bill, charged[place], settled[place], _total(bill, policy), told))
    return rows


def _sum(bill: Bill, charged: int, settled: int, total: int | None, why: str) -> BillSum:
    difference = None if total is None else charged + settled - total
    equal = difference == 0
    return BillSum(
        bill.id,
        bill.customer_id or bill.account_id,
        bill.status,
        bill.currency,
        total,
        charged,
        settled,
        difference,
        equal,
        "" if equal else why,
    )


def _total(bill: Bill, policy: BillPolicy) -> int | None:
    if bill.status != "APPROVED":
        return 0
    try:
        places = exponent(bill.currency, three_decimal=policy.three_decimal)
    except RecordRefused:
        return None
    return to_minor(exact_sum([line.amount for line in bill.lines]), places, policy.rounding)
