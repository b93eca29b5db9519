from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from meterbridge.rules.bill_lines import Charge, identities, match_charge
from meterbridge.rules.charge_text import describe
from meterbridge.rules.placing import place_lines
from meterbridge.rules.records import ChargeRule, PlacedPlan
from tests.unit.bill_world import APRIL, HOUR, MARCH, MAY, bill, case, line, plan, policy, subscription

DAY = timedelta(days=1)


def on(number, plan_id, account="acc", start=MARCH - 90 * DAY, end=None):
    return PlacedPlan(f"ap-{number}-{plan_id}", account, plan_id, f"sub{number}", "ip", start, end)


MEMO = {"plan": None, "line_item_type": "CREDIT_MEMO"}


@pytest.mark.parametrize(
    ("lines", "plans", "main", "expected"),
    [
        pytest.param([line("l", "1")], [on(1, "plan1")], {}, ["sub1"], id="by-its-plan"),
        pytest.param([line("l", "1")], [on(1, "plan1", end=MARCH)], {}, [None], id="a-plan-that-ended-before"),
        pytest.param([line("l", "1")], [on(1, "plan1", start=APRIL)], {}, [None], id="a-plan-that-starts-after"),
        pytest.param([line("l", "1")], [on(1, "plan1", end=MARCH + HOUR)], {}, ["sub1"], id="a-plan-that-ended-within"),
        pytest.param(
            [line("l", "1")],
            [on(1, "plan1", end=MARCH + 9 * DAY), on(1, "plan1", start=MARCH + 9 * DAY)],
            {},
            ["sub1"],
            id="a-plan-replaced-by-itself",
        ),
        pytest.param(
            [line("l", "1", service_end=MARCH + 9 * DAY), line("m", "1", 2, service_start=MARCH + 9 * DAY)],
            [on(1, "plan1", end=MARCH + 9 * DAY), on(2, "plan1", start=MARCH + 9 * DAY)],
            {},
            ["sub1", "sub2"],
            id="handed-over-at-one-instant",
        ),
        pytest.param([line("l", "1")], [on(1, "plan1"), on(2, "plan1")], {}, [None], id="two-on-one-plan"),
        pytest.param([line("l", "1")], [on(1, "plan1", account="other")], {}, [None], id="another-accounts-plan"),
        pytest.param(
            [line("l", "1", child_account_id="child")],
            [on(1, "plan1"), on(2, "plan1", account="child")],
            {},
            ["sub2"],
            id="by-child-account",
        ),
        pytest.param(
            [line("l", "1", child_account_id="child")], [on(1, "plan1")], {}, ["sub1"], id="a-child-on-its-parents-plan"
        ),
        pytest.param([line("l", "1")], [on(9, "plan1")], {}, [None], id="a-subscription-chargebee-does-not-have"),
        pytest.param([line("l", "-1", **MEMO)], [on(1, "plan1")], {}, ["sub1"], id="a-memo-goes-to-the-only-one"),
        pytest.param([line("l", "-1", **MEMO)], [on(1, "plan1"), on(2, "plan2")], {}, [None], id="a-memo-with-two"),
        pytest.param(
            [line("l", "-1", **MEMO)],
            [on(1, "plan1"), on(2, "plan2")],
            {"cust": "sub2"},
            ["sub2"],
            id="by-customer",
        ),
        pytest.param(
            [line("l", "-1", **MEMO)], [on(1, "plan1"), on(2, "plan2")], {"acc": "sub2"}, ["sub2"], id="by-account"
        ),
        pytest.param(
            [line("l", "-1", **MEMO)], [on(1, "plan1"), on(2, "plan2")], {"acc": "sub7"}, [None], id="main-unknown"
        ),
        pytest.param(
            [line("l", "-1", **MEMO), line("m", "5", 2)],
            [on(1, "plan1"), on(2, "plan2")],
            {"acc": "sub2"},
            ["sub1", "sub1"],
            id="the-bills-only-one-comes-before-the-main-one",
        ),
        pytest.param(
            [line("l", "-1", **MEMO)],
            [on(1, "plan1", end=MARCH), on(2, "plan2", start=MARCH)],
            {},
            ["sub2"],
            id="a-memo-goes-to-the-only-living-one",
        ),
        pytest.param([line("l", "-1", **MEMO)], [on(1, "plan1", end=MARCH)], {}, ["sub1"], id="or-the-only-one-ever"),
        pytest.param([line("l", "-1", **MEMO)], [], {"acc": "sub2"}, ["sub2"], id="no-plan-but-a-main-one"),
        pytest.param([line("l", "-1", **MEMO)], [], {}, [None], id="a-memo-without-anything"),
    ],
)
def test_lines_are_placed_on_subscriptions(lines, plans, main, expected):
    world = case(bill(*lines), plans=tuple(plans))
    placed, unplaced = place_lines(world, policy(main_subscription=main, bill_level_lines="main"), 2)
    owners = {one.line.id: one.subscription_id for one in placed} | {one.line.id: None for one in unplaced}
    assert [owners[one.id] for one in lines] == expected


def test_a_line_without_dates_has_its_bills():
    undated = line("l", "1", service_start=None, service_end=None)
    [placed], _ = place_lines(case(bill(undated)), policy(), 2)
    assert (placed.start, placed.end) == (MARCH, APRIL)


def test_a_line_without_any_dates_is_not_placed():
    undated = line("l", "1", service_start=None)
    _, [unplaced] = place_lines(case(bill(undated, start=None)), policy(), 2)
    assert "service period" in unplaced.why


def test_an_instant_belongs_to_the_plan_that_starts_then():
    moment = line("l", "1", service_end=MARCH)
    handed = (plan(1, end=MARCH), PlacedPlan("ap2", "acc", "plan1", "sub2", "ip", MARCH, None))
    [placed], _ = place_lines(case(bill(moment), plans=handed), policy(), 2)
    assert placed.subscription_id == "sub2"


@pytest.mark.parametrize(
    "change",
    [
        {"line_item_type": "OVERAGE_USAGE"},
        {"product_id": "p9"},
        {"plan_id": "plan9"},
        {"pricing_id": "pr9"},
        {"segment": {"region": "eu"}},
        {"contract_id": "c9"},
        {"charge_id": "ch9"},
        {"commitment_id": "co9"},
        {"balance_id": "b9"},
        {"counter_id": "cn9"},
        {"referenced_line_id": "r9"},
        {"service_start": MARCH + HOUR},
        {"service_end": APRIL + HOUR},
        {"child_account_id": "child"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_part_of_a_line_tells_it_from_others(change):
    [before] = identities([line("l", "1")])
    [after] = identities([line("l", "1", **change)])
    assert before != after


@pytest.mark.parametrize(
    "change",
    [{"id": "new"}, {"amount": Decimal(9)}, {"sequence": 7}, {"quantity": Decimal(1)}, {"description": "renamed"}],
    ids=lambda change: next(iter(change)),
)
def test_a_recalculation_keeps_a_lines_identity(change):
    assert identities([line("l", "1")]) == identities([replace(line("l", "1"), **change)])


def test_equal_lines_are_numbered_by_sequence_not_by_place():
    one, two = line("x", "1", 1, pricing_id="pr"), line("y", "2", 2, pricing_id="pr")
    assert identities([one, two]) == list(reversed(identities([two, one])))
    assert len(set(identities([one, two]))) == 2


def test_without_a_pricing_the_aggregation_tells_lines_apart():
    one, two = line("x", "1", pricing_id=None), line("x", "1", pricing_id=None, aggregation_id="a2")
    assert identities([one]) != identities([two])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([], None, id="no-rules"),
        pytest.param([ChargeRule("x")], "x", id="an-empty-rule-fits-anything"),
        pytest.param([ChargeRule("x", product="p9"), ChargeRule("y", product="p1")], "y", id="another-product"),
        pytest.param([ChargeRule("x", aggregation="api_calls"), ChargeRule("y")], "x", id="the-first-one-wins"),
        pytest.param([ChargeRule("x", currency="USD"), ChargeRule("y", currency="EUR")], "y", id="by-currency"),
        pytest.param([ChargeRule("x", line_item_type="OVERAGE_USAGE")], None, id="another-type"),
        pytest.param([ChargeRule("x", plan="plan1", pricing="pricing-l")], "x", id="ids-fit-too"),
        pytest.param([ChargeRule("x", compound_aggregation="c1")], None, id="a-field-the-line-lacks"),
        pytest.param([ChargeRule("x", segment={"region": "eu"})], "x", id="part-of-the-segment"),
        pytest.param([ChargeRule("x", segment={"region": "us"})], None, id="another-segment"),
        pytest.param([ChargeRule("x", segment={"zone": "1"})], None, id="a-segment-the-line-lacks"),
    ],
)
def test_the_first_fitting_rule_names_the_charge(rules, expected):
    found = match_charge(line("l", "1", segment={"region": "eu", "tier": "1"}), rules, "EUR")
    assert (found.item_price if found else None) == expected


DEFAULT = "{product}: {quantity} {unit}, {start}–{end}"


def charge(*lines, start=MARCH, end=APRIL):
    return Charge("identity", "sub1", None, start, end, lines)


@pytest.mark.parametrize(
    ("one", "template", "expected"),
    [
        pytest.param(
            charge(line("l", "1")), DEFAULT, "API: 45.316 1k calls, 2026-03-01–2026-03-31 [mb:0]", id="rated-units"
        ),
        pytest.param(
            charge(line("l", "1", units=Decimal("1E+3"))),
            DEFAULT,
            "API: 1000 1k calls, 2026-03-01–2026-03-31 [mb:0]",
            id="plain-digits",
        ),
        pytest.param(
            charge(line("l", "1"), line("m", "1")),
            DEFAULT,
            "API: 90.632 1k calls, 2026-03-01–2026-03-31 [mb:0]",
            id="units-of-a-group-add-up",
        ),
        pytest.param(
            charge(line("l", "1"), line("m", "1", unit="GB")),
            DEFAULT,
            "API, 2026-03-01–2026-03-31 [mb:0]",
            id="unlike-units-are-left-out",
        ),
        pytest.param(
            charge(line("l", "1", product_name=None, product=None)),
            "{product} {aggregation}",
            "API calls api_calls [mb:0]",
            id="without-a-product-its-own-words",
        ),
        pytest.param(
            charge(line("l", "1", segment={"b": "2", "a": "1"})), "{segment}\n {plan}", "a=1, b=2 [mb:0]", id="one-line"
        ),
        pytest.param(charge(line("l", "1"), end=MARCH), "{start}–{end}", "2026-03-01–2026-03-01 [mb:0]", id="instant"),
    ],
)
def test_a_description_reads_as_expected(one, template, expected):
    assert describe(one, template, "mb:0") == expected


def test_a_long_description_keeps_its_reference_within_250_characters():
    text = describe(charge(line("l", "1", product_name="ü" * 400)), DEFAULT, "mb:0123456789ab")
    assert len(text) == 250
    assert text.endswith("ü… [mb:0123456789ab]")


def test_the_bill_of_a_cancelled_subscription_is_placed():
    ended = case(bill(line("l", "1")), subscriptions={"sub1": subscription(1, status="cancelled", next_billing_at=MAY)})
    placed, unplaced = place_lines(ended, policy(), 2)
    assert (len(placed), unplaced) == (1, [])
