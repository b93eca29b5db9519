from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.records import (
    Intent,
    Quarantined,
    Unchanged,
)
from tests.unit.bill_world import applied, bill, case, draft, line, policy, stand

amounts = st.builds(
    lambda units, power: Decimal(units).scaleb(power), st.integers(-(10**12), 10**12), st.integers(-9, 0)
)
bills = st.lists(st.tuples(amounts, st.sampled_from(["plan1", "plan2"]), st.sampled_from(["p1", "p2"])), max_size=8)


def built(rows):
    return bill(*(line(f"l{n}", amount, n, where, what) for n, (amount, where, what) in enumerate(rows)))


@given(bills, st.booleans(), st.sampled_from(["line", "aggregation", "product"]))
def test_charges_and_what_is_set_aside_sum_to_the_rounded_bill(rows, across, grouping):
    decisions = decide_bill(case(built(rows)), policy(net_across_subscriptions=across, charge_grouping=grouping))
    total = sum(one.amount for one in decisions if isinstance(one, Intent | Quarantined))
    exact = sum((amount * 100 for amount, _, _ in rows), Decimal(0))
    assert abs(total - exact) <= Decimal("0.5")
    assert all(one.amount > 0 for one in decisions if isinstance(one, Intent))


drafts = st.sampled_from([(), (draft(1),), (draft(2),), (draft(1), draft(2))])


def waiting(decisions):
    return [one for one in decisions if not isinstance(one, Intent | Unchanged)]


@given(bills, drafts, st.booleans(), st.sampled_from(["line", "aggregation", "product"]))
@example([(Decimal(-1), "plan1", "p1"), (Decimal(2), "plan2", "p1")], (draft(2),), False, "line")
def test_deciding_again_with_what_was_applied_intends_nothing(rows, invoices, across, grouping):
    rules = {"net_across_subscriptions": across, "charge_grouping": grouping}
    first = decide_bill(case(built(rows), invoices=invoices), policy(**rules))
    standing = tuple(stand(one) for one in first if isinstance(one, Intent))
    again = decide_bill(case(built(rows), invoices=invoices, standing=standing), policy(**rules))
    charged = {line.subscription_id for line in standing}
    assert [one for one in again if isinstance(one, Intent)] == []
    assert waiting(again) == waiting(first)  # also the part of a charged portion that the bill's total does not cover
    assert charged <= {one.key[-1] for one in again}


@given(bills, st.data())
def test_after_a_crash_the_rest_makes_the_sum_exact(rows, data):
    full = applied(case(built(rows)))
    kept = tuple(one for one in full if data.draw(st.booleans()))
    rest = applied(case(built(rows), standing=kept))
    assert sorted((one.key, one.amount) for one in kept + rest) == sorted((one.key, one.amount) for one in full)
