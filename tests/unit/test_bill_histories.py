"""Any history of one bill: recalculated, closed, voided, edited by hand. The sum is exact after every run."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterbridge.errors import RecordRefused
from meterbridge.rules.bills import decide_bill
from meterbridge.rules.money import DISPUTED, THREE_DECIMAL, ZERO_DECIMAL, exponent
from meterbridge.rules.records import Intent, InvoiceLine, Quarantined, StandingLine, Waiting
from tests.unit.bill_world import APRIL, bill, case, draft, line, policy, subscription

CURRENCIES = [*sorted(ZERO_DECIMAL), "EUR", "USD", "GBP", "CHF", "SEK", "INR", "BRL", "HUF", "TWD", "CLF"]

sizes = st.builds(lambda units, power: Decimal(units).scaleb(power), st.integers(-(10**12), 10**12), st.integers(-9, 0))
crumbs = st.builds(lambda units: Decimal(units).scaleb(-3), st.integers(-9_000, 60_000))


def fraction_rounded(exact):
    """Half away from zero, on fractions."""
    whole = int(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


@given(st.lists(st.tuples(sizes, st.sampled_from(["p1", "p2"])), max_size=8), st.sampled_from(CURRENCIES))
def test_charges_and_what_is_left_sum_exactly_to_the_bill_in_every_currency(rows, currency):
    lines = [line(f"l{n}", amount, n, product=product) for n, (amount, product) in enumerate(rows)]
    world = {"subscriptions": {"sub1": subscription(1, currency)}, "invoices": (draft(1, currency=currency),)}
    decisions = decide_bill(case(bill(*lines, currency=currency), **world), policy())
    places = 0 if currency in ZERO_DECIMAL else 2
    exact = sum((Fraction(amount) * 10**places for amount, _ in rows), Fraction(0))
    assert sum(one.amount for one in decisions if isinstance(one, Intent | Quarantined)) == fraction_rounded(exact)
    assert all(one.amount > 0 for one in decisions if isinstance(one, Intent))


@pytest.mark.parametrize("currency", sorted(THREE_DECIMAL | DISPUTED))
def test_a_currency_of_unproven_scale_is_charged_nothing(currency):
    with pytest.raises(RecordRefused):
        exponent(currency, three_decimal=None)
    [decision] = decide_bill(case(bill(line("l1", "5"), currency=currency)), policy())
    assert decision.code == "MB-CURRENCY-EXPONENT"


class Site:
    """Chargebee and the ledger for one bill: every invoice read by id, every intent applied at once."""

    def __init__(self, rules):
        self.rules = policy(**rules)
        self.standing = []
        self.invoices = [draft(1, id="d0", strong=True)]
        self.bill = bill()
        self.numbers = 0

    def run(self):
        return decide_bill(case(self.bill, standing=tuple(self.standing), invoices=tuple(self.invoices)), self.rules)

    def apply(self, decisions):
        for intent in (one for one in decisions if isinstance(one, Intent)):
            if intent.kind == "charge_removal":
                self.change(
                    intent.payload["invoice_id"], lambda lines, gone=intent.key[-1]: [x for x in lines if x.id != gone]
                )
                self.standing = [one for one in self.standing if one.line_id != intent.key[-1]]
            else:
                self.book(intent)

    def book(self, intent):
        self.numbers += 1
        name, where = f"li{self.numbers}", intent.payload["invoice_id"]
        new = InvoiceLine(name, "adhoc", None, intent.payload["description"], None, None, intent.amount, "sub1")
        assert next(one for one in self.invoices if one.id == where).status == "pending"
        self.change(where, lambda lines: [*lines, new])
        self.standing = [one for one in self.standing if one.key != intent.key]
        self.standing.append(StandingLine(intent.key, "bill1", "sub1", where, name, intent.amount, "EUR", ""))

    def change(self, invoice_id, change):
        self.invoices = [
            replace(one, lines=tuple(change(one.lines))) if one.id == invoice_id else one for one in self.invoices
        ]

    def close(self):
        self.invoices = [replace(one, status="paid") if one.status == "pending" else one for one in self.invoices]
        self.invoices.append(draft(1, id=f"d{len(self.invoices)}", strong=True, at=APRIL))

    def void(self):
        closed = [one.id for one in self.invoices if one.status == "paid" and one.lines]
        self.invoices = [replace(one, status="voided") if [one.id] == closed[:1] else one for one in self.invoices]

    def take_off(self):
        full = [one.id for one in self.invoices if one.lines and one.status in ("pending", "paid")]
        for invoice_id in full[:1]:
            self.change(invoice_id, lambda lines: lines[1:])

    def stands(self):
        return sum(x.amount for one in self.invoices if one.status != "voided" for x in one.lines)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("recalculate"), st.lists(crumbs, max_size=4)),
        st.tuples(st.sampled_from(["close", "void", "take_off"]), st.none()),
    ),
    max_size=10,
)


@given(steps, st.sampled_from(["hold", "recharge"]))
def test_after_every_run_what_stands_and_what_is_set_aside_sum_to_the_bill(history, on_void):
    site = Site({"on_void": on_void})
    for step, amounts in history:
        if step == "recalculate":
            site.bill = bill(*(line(f"l{n}", amount, n) for n, amount in enumerate(amounts)))
        else:
            getattr(site, step)()
        decisions = site.run()
        site.apply(decisions)
        aside = sum(one.amount for one in decisions if isinstance(one, Quarantined | Waiting))
        wanted = fraction_rounded(sum((Fraction(one.amount) * 100 for one in site.bill.lines), Fraction(0)))
        assert site.stands() + aside == wanted
        assert [one for one in site.run() if isinstance(one, Intent)] == []
