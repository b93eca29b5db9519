from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from meterbridge.errors import SetupError
from meterbridge.rules.bills import decide_bill
from meterbridge.rules.keys import reference
from meterbridge.rules.records import (
    ChargeRule,
    InvoiceLine,
    PlacedPlan,
)
from tests.unit.bill_world import (
    APRIL,
    HOUR,
    LATER,
    MARCH,
    MAY,
    bill,
    case,
    draft,
    line,
    plan,
    policy,
    subscription,
    told,
)

# --- the charge itself -------------------------------------------------------------------


def test_a_line_becomes_a_charge_on_the_draft():
    [intent] = decide_bill(case(bill(line("l1", "41.237"))), policy())
    mark = reference(intent.key)
    assert (intent.kind, intent.action, intent.target, intent.scope) == (
        "charge",
        "create",
        "chargebee",
        "invoice:draft1",
    )
    assert intent.key[:2] == ("bill1", "sub1")
    assert (intent.amount, intent.currency, intent.source_version) == (4124, "EUR", 3)
    assert intent.payload == {
        "invoice_id": "draft1",
        "method": "add_charge",
        "amount": 4124,
        "currency": "EUR",
        "description": f"API: 45.316 1k calls, 2026-03-01–2026-03-31 [{mark}]",
        "reference": mark,
        "date_from": 1772323200,
        "date_to": 1775001599,
        "subscription_id": "sub1",
        "bill_id": "bill1",
        "bill_version": 3,
        "bill_status": "APPROVED",
        "bill_last_calculated": "2026-04-02T00:15:09Z",
        "line_ids": ["l1"],
        "price_type": "tax_exclusive",
        "ceiling": 4124,
    }
    assert intent.state == {
        "bill_id": "bill1",
        "subscription_id": "sub1",
        "invoice_id": "draft1",
        "invoice_status": "pending",
        "invoice_date": 1775001600,
        "customer_id": "cust",
        "amount": 4124,
        "currency": "EUR",
        "date_from": 1772323200,
        "date_to": 1775001599,
        "reference": mark,
        "entity_type": "adhoc",
        "entity_id": None,
        "bill_line_ids": ["l1"],
    }
    assert intent.reason == (
        "USAGE api_calls 2026-03-01..2026-03-31 of bill bill1 for subscription sub1: 41.24 EUR on draft draft1"
    )


def test_a_mapped_line_becomes_a_charge_item_without_words():
    rules = (ChargeRule("usage-EUR", aggregation="api_calls", currency="EUR"),)
    [intent] = decide_bill(case(bill(line("l1", "41.237"))), policy(charges=rules))
    assert (intent.payload["method"], intent.payload["item_price_id"]) == ("add_charge_item", "usage-EUR")
    assert "description" not in intent.payload
    assert (intent.state["entity_type"], intent.state["entity_id"]) == ("charge_item_price", "usage-EUR")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({"invoices": (draft(1, id="draft9"),)}, True, id="another-draft"),
        pytest.param({"bill": bill(line("l9", "41.237", pricing_id="pricing-l1"), version=9)}, True, id="new-line-ids"),
        pytest.param({"bill": bill(line("l1", "41.247"))}, False, id="another-amount"),
        pytest.param({"bill": bill(line("l1", "41.237", service_end=APRIL - HOUR))}, False, id="other-dates"),
    ],
)
def test_the_fingerprint_holds_what_must_be_true_of_the_line(changes, same):
    [first] = decide_bill(case(bill(line("l1", "41.237"))), policy())
    [second] = decide_bill(case(**{"the_bill": bill(line("l1", "41.237")), **changes}), policy())
    assert (first.fingerprint == second.fingerprint) is same


def test_an_amount_of_many_digits_reaches_the_intent_exactly():
    [intent] = decide_bill(case(bill(line("l1", "1234567890123.123456789"))), policy())
    assert intent.amount == 123456789012312


def test_a_float_amount_raises():
    with pytest.raises(TypeError, match="money is Decimal"):
        decide_bill(case(bill(replace(line("l1", "1"), amount=41.237))), policy())


def test_yen_are_whole_units():
    world = {
        "subscriptions": {"sub1": subscription(1, "JPY")},
        "invoices": (draft(1, currency="JPY"),),
    }
    lines = [line("l1", "1.4", 1), line("l2", "1.4", 2), line("l3", "1.2", 3)]
    assert [one.amount for one in decide_bill(case(bill(*lines, currency="JPY"), **world), policy())] == [2, 1, 1]


# --- which bills ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("the_bill", "expected"),
    [
        pytest.param(bill(line("l1", "5"), status="PENDING"), [("out of scope", "bill1")], id="pending"),
        pytest.param(bill(line("l1", "5"), bill_date=date(2025, 12, 31)), [("out of scope", "bill1")], id="too-early"),
        pytest.param(
            bill(line("l1", "5"), bill_date=date(2026, 1, 1)), [("create", "sub1", 500)], id="since-is-inclusive"
        ),
        pytest.param(bill(), [("unchanged", "bill1")], id="no-lines"),
        pytest.param(bill(line("l1", "0")), [("unchanged", "bill1")], id="a-zero-line"),
        pytest.param(bill(line("l1", "0.004")), [("unchanged", "sub1")], id="a-crumb"),
        pytest.param(bill(line("l1", "5"), currency="USD"), [("MB-BILL-CURRENCY", "sub1", 500)], id="currency"),
        pytest.param(bill(line("l1", "5"), currency="eur"), [("MB-BILL-CURRENCY", "sub1", 500)], id="currency-case"),
        pytest.param(bill(line("l1", "5"), currency="KWD"), [("MB-CURRENCY-EXPONENT", "bill1", None)], id="dinar"),
        pytest.param(bill(line("l1", "NaN")), [("MB-RECORD", "bill1", None)], id="damaged-amount"),
        pytest.param(
            bill(line("l1", "5"), total=Decimal("5.005")), [("create", "sub1", 500)], id="total-half-a-cent-off"
        ),
        pytest.param(bill(line("l1", "5"), total=Decimal("5.0051")), [("MB-BILL-TOTAL", "bill1", 500)], id="total-off"),
        pytest.param(bill(line("l1", "5", plan="plan9")), [("MB-BILL-LINE", "bill1", 500)], id="unmapped-plan"),
        pytest.param(
            bill(line("l1", "5"), line("l2", "7", 2, plan="plan9")),
            [("create", "sub1", 500), ("MB-BILL-LINE", "", 700)],
            id="a-line-without-a-place-holds-back-itself-alone",
        ),
        pytest.param(
            bill(line("l1", "5"), line("l2", "-7", 2, plan="plan9")),
            [("MB-BILL-LINE", "bill1", -200)],
            id="unless-it-could-lower-the-others",
        ),
        pytest.param(
            bill(line("l1", "5"), line("l2", "7", 2, plan="plan9"), line("l3", "-6", 3, plan="plan9")),
            [("create", "sub1", 500), ("MB-BILL-LINE", "", 100)],
            id="lines-of-one-plan-fall-together",
        ),
        pytest.param(
            bill(line("l1", "5"), line("l2", "7", 2, plan="plan9"), line("l3", "-6", 3, plan="plan8")),
            [("MB-BILL-LINE", "bill1", 600)],
            id="lines-of-two-plans-may-fall-apart",
        ),
        pytest.param(
            bill(line("l1", "5"), line("l2", "0", 2, plan="plan9")), [("create", "sub1", 500)], id="no-money-no-place"
        ),
    ],
)
def test_a_bill_is_decided_as_expected(the_bill, expected):
    assert told(decide_bill(case(the_bill), policy())) == expected


def test_what_was_too_early_says_its_amount():
    [decision] = decide_bill(case(bill(line("l1", "5.5"), bill_date=date(2025, 12, 31))), policy())
    assert "5.5 EUR" in decision.reason


def test_two_subscriptions_on_one_plan_hold_the_whole_bill():
    twins = (plan(1), PlacedPlan("ap9", "acc", "plan1", "sub2", "ip1", MARCH, None))
    [decision] = decide_bill(case(bill(line("l1", "5")), plans=twins), policy())
    assert (decision.code, decision.key) == ("MB-BILL-LINE", ("bill1",))
    assert "sub1, sub2" in decision.message


# --- rounding, netting, portions -----------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "changes", "expected"),
    [
        pytest.param(
            [line("l1", "0.335"), line("l2", "0.335", 2, plan="plan2"), line("l3", "0.33", 3)],
            {},
            [("create", "sub1", 34), ("create", "sub1", 33), ("create", "sub2", 33)],
            id="rounding-spans-the-bills-subscriptions",
        ),
        pytest.param(
            [line("l1", "10"), line("l2", "-2.5", 2)], {}, [("create", "sub1", 750)], id="a-credit-lowers-its-product"
        ),
        pytest.param(
            [line("l1", "10"), line("l2", "-2.5", 2, product="p2")],
            {},
            [("create", "sub1", 750)],
            id="or-its-subscription",
        ),
        pytest.param(
            [line("l1", "10"), line("l2", "-2.5", 2, plan="plan2")],
            {},
            [("create", "sub1", 750), ("MB-BILL-OVERDRAWN", "sub1", 250), ("MB-BILL-OVERDRAWN", "sub2", -250)],
            id="nothing-above-the-total-leaves-beside-a-negative-portion",
        ),
        pytest.param(
            [line("l1", "10"), line("l2", "-2.5", 2, plan="plan2")],
            {"net_across_subscriptions": True},
            [("create", "sub1", 750), ("unchanged", "sub2")],
            id="across-subscriptions-by-setting",
        ),
        pytest.param(
            [line("l1", "1"), line("l2", "-2.5", 2)],
            {"negative": "promotional_credit"},
            [("create", "sub1", -150)],
            id="left-negative-and-credited",
        ),
        pytest.param(
            [line("l1", "1"), line("l2", "2", 2), line("l3", "4", 3, aggregation_id="a2")],
            {"charge_grouping": "aggregation"},
            [("create", "sub1", 300), ("create", "sub1", 400)],
            id="one-charge-an-aggregation",
        ),
        pytest.param(
            [line("l1", "1"), line("l2", "2", 2, aggregation_id="a2"), line("l3", "4", 3, product="p2")],
            {"charge_grouping": "product"},
            [("create", "sub1", 300), ("create", "sub1", 400)],
            id="one-charge-a-product",
        ),
        pytest.param(
            [line("l1", "1"), line("l2", "2", 2, service_start=MARCH + HOUR)],
            {"charge_grouping": "product"},
            [("create", "sub1", 100), ("create", "sub1", 200)],
            id="two-periods-never-share-a-charge",
        ),
    ],
)
def test_lines_become_charges_that_sum_to_the_bill(lines, changes, expected):
    assert told(decide_bill(case(bill(*lines)), policy(**changes))) == expected


def test_netting_is_told_in_the_reason():
    credit = line("l2", "-2.5", 2, line_item_type="CREDIT_MEMO")
    [intent] = decide_bill(case(bill(line("l1", "10"), credit)), policy())
    assert intent.reason.endswith("after netting -2.50 EUR of CREDIT_MEMO api_calls 2026-03-01..2026-03-31")


def test_a_portion_without_an_invoice_does_not_hold_the_others():
    lines = [line("l1", "1"), line("l2", "2", 2, plan="plan2")]
    decisions = decide_bill(case(bill(*lines), invoices=(draft(2),)), policy())
    assert told(decisions) == [("waiting", "sub1", 100, MAY), ("create", "sub2", 200)]


# --- when and where ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "the_bill", "auto_close_days", "expected"),
    [
        pytest.param(APRIL + 23 * HOUR, {}, None, ("waiting", "sub1", 500, APRIL + 24 * HOUR), id="not-settled-yet"),
        pytest.param(APRIL + 24 * HOUR, {}, None, ("create", "sub1", 500), id="settled"),
        pytest.param(APRIL + HOUR, {"locked": True}, None, ("create", "sub1", 500), id="locked-bills-do-not-wait"),
        pytest.param(APRIL, {}, 1, ("waiting", "sub1", 500, APRIL + 22 * HOUR), id="until-shortly-before-the-close"),
        pytest.param(APRIL + 22 * HOUR, {}, 1, ("create", "sub1", 500), id="sent-before-the-draft-closes"),
        pytest.param(APRIL + HOUR, {}, 2, ("waiting", "sub1", 500, APRIL + 24 * HOUR), id="it-closes-late-enough"),
        pytest.param(APRIL, {}, 0, ("create", "sub1", 500), id="it-may-close-at-any-moment"),
    ],
)
def test_a_bill_is_sent_once_it_is_settled(now, the_bill, auto_close_days, expected):
    world = case(bill(line("l1", "5"), **the_bill), now=now)
    assert told(decide_bill(world, policy(auto_close_days=auto_close_days))) == [expected]


def test_sending_before_settling_is_said():
    world = case(bill(line("l1", "5")), now=APRIL + 22 * HOUR)
    [intent] = decide_bill(world, policy(auto_close_days=1))
    assert intent.warnings == ("sent before settled: the draft closes sooner",)
    assert "sent before settled" in intent.reason


@pytest.mark.parametrize(
    "prepaid",
    [
        pytest.param({"in_advance": True}, id="marked"),
        pytest.param({}, id="told-by-its-period"),
    ],
)
def test_prepaid_lines_alone_do_not_wait_for_settling(prepaid):
    advance = line("l1", "5", service_start=APRIL, service_end=MAY, **prepaid)
    assert told(decide_bill(case(bill(advance), now=APRIL), policy())) == [("create", "sub1", 500)]


def test_a_zero_usage_line_still_needs_settling():
    lines = [line("l1", "0"), line("l2", "5", 2, service_start=APRIL, service_end=MAY)]
    assert told(decide_bill(case(bill(*lines), now=APRIL), policy())) == [("waiting", "sub1", 500, APRIL + 24 * HOUR)]


@pytest.mark.parametrize(
    ("world", "changes", "expected"),
    [
        pytest.param(
            {"invoices": (), "subscriptions": {"sub1": subscription(1, status="cancelled")}},
            {},
            ("MB-NO-INVOICE", "sub1", 500),
            id="cancelled",
        ),
        pytest.param(
            {"invoices": (), "waiting_since": {"sub1": LATER - timedelta(days=36)}},
            {},
            ("MB-NO-INVOICE", "sub1", 500),
            id="waited-too-long",
        ),
        pytest.param(
            {"invoices": (draft(1), draft(1, id="other"))}, {}, ("MB-INVOICE-AMBIGUOUS", "sub1", 500), id="two-drafts"
        ),
        pytest.param({}, {"bill_amounts": "gross"}, ("MB-PRICE-TYPE", "sub1", 500), id="price-type"),
        pytest.param({}, {"max_invoice_lines": 0}, ("MB-INVOICE-FULL", "sub1", 500), id="no-room"),
        pytest.param({}, {"max_invoice_lines": 1}, ("create", "sub1", 500), id="room-for-one"),
    ],
)
def test_a_portion_that_finds_no_place_is_set_aside_with_its_amount(world, changes, expected):
    assert told(decide_bill(case(bill(line("l1", "5")), **world), policy(**changes))) == [expected]


def test_portions_share_the_room_of_one_draft():
    shared = draft(1, *(InvoiceLine(f"x{n}", "plan_item_price", "", "", None, None, 1, f"sub{n}") for n in (1, 2)))
    shared = replace(shared, subscription_id=None)
    lines = [line("l1", "1"), line("l2", "2", 2, plan="plan2")]
    decisions = decide_bill(case(bill(*lines), invoices=(shared,)), policy(max_invoice_lines=3))
    assert told(decisions) == [("create", "sub1", 100), ("MB-INVOICE-FULL", "sub2", 200)]


def test_a_bad_template_is_a_setup_error():
    with pytest.raises(SetupError) as refusal:
        decide_bill(case(bill(line("l1", "5"))), policy(description_template="{colour}"))
    assert refusal.value.code == "MB-SETTING"
