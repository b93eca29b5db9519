from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterbridge.errors import SetupError
from meterbridge.rules.bills import BillPolicy, decide_bill, decide_vanished
from meterbridge.rules.keys import reference
from meterbridge.rules.records import (
    Bill,
    BillCase,
    BillLine,
    ChargeRule,
    Intent,
    Invoice,
    InvoiceLine,
    OutOfScope,
    PlacedPlan,
    Quarantined,
    StandingLine,
    SubscriptionFacts,
    Unchanged,
    Waiting,
)

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
LATER = datetime(2026, 4, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = dict.fromkeys(
    [
        *("product_code", "plan_code", "pricing_code", "compound_aggregation_id", "compound_aggregation_code"),
        *("contract_id", "charge_id", "commitment_id", "balance_id", "counter_id", "referenced_line_id"),
        "child_account_id",
    ]
)


def line(name, amount, sequence=1, plan="plan1", product="p1", **changes):
    known = {
        **NOTHING,
        "id": name,
        "sequence": sequence,
        "line_item_type": "USAGE",
        "description": "API calls",
        "amount": Decimal(amount),
        "quantity": Decimal("45316"),
        "units": Decimal("45.3160"),
        "unit": "1k calls",
        "product_id": product,
        "product_name": "API",
        "plan_id": plan,
        "pricing_id": f"pricing-{name}",
        "aggregation_id": "a1",
        "aggregation_code": "api_calls",
        "segment": {},
        "service_start": MARCH,
        "service_end": APRIL,
    }
    return BillLine(**{**known, **changes})


def bill(*lines, **changes):
    known = {
        "id": "bill1",
        "version": 3,
        "account_id": "acc",
        "account_code": "cust",
        "status": "APPROVED",
        "locked": False,
        "currency": "EUR",
        "bill_date": date(2026, 4, 1),
        "start": MARCH,
        "end": APRIL,
        "last_calculated": "2026-04-02T00:15:09Z",
        "total": None,
        "lines": lines,
    }
    return Bill(**{**known, **changes})


def plan(number, start=MARCH - timedelta(days=90), end=None):
    return PlacedPlan(f"ap{number}", "acc", f"plan{number}", f"sub{number}", f"ip{number}", start, end)


def subscription(number, currency="EUR", status="active", next_billing_at=MAY):
    return SubscriptionFacts(
        f"sub{number}", "cust", None, status, currency, None, next_billing_at, next_billing_at, False
    )


def draft(number, *lines, at=APRIL, **changes):
    known = {
        "id": f"draft{number}",
        "status": "pending",
        "customer_id": "cust",
        "subscription_id": f"sub{number}",
        "currency": "EUR",
        "date": at,
        "price_type": "tax_exclusive",
        "lines": lines,
    }
    return Invoice(**{**known, **changes})


def case(the_bill, **changes):
    known = {
        "bill": the_bill,
        "plans": (plan(1), plan(2)),
        "subscriptions": {"sub1": subscription(1), "sub2": subscription(2)},
        "invoices": (draft(1), draft(2)),
        "standing": (),
        "settled": {},
        "known": True,
        "mapped_invoice_lines": {},
        "now": LATER,
    }
    return BillCase(**{**known, **changes})


def policy(**changes):
    return BillPolicy(**{"since": date(2026, 1, 1), **changes})


def stand(intent, amount=None):
    """The ledger's line once the intent is applied."""
    owner = intent.payload["subscription_id"]
    return StandingLine(
        intent.key,
        intent.payload["bill_id"],
        owner,
        intent.payload["invoice_id"],
        f"li-{intent.key[2]}",
        intent.amount if amount is None else amount,
        intent.currency,
        intent.fingerprint,
    )


def told(decisions):
    """Kind, last part of the key, and money of each decision."""
    found = []
    for one in decisions:
        match one:
            case Intent(action=action, amount=amount):
                found.append((action, one.payload["subscription_id"], amount))
            case Quarantined(key=key, code=code, amount=amount):
                found.append((code, key[-1], amount))
            case Waiting(key=key, amount=amount, until=until):
                found.append(("waiting", key[-1], amount, until))
            case Unchanged(key=key):
                found.append(("unchanged", key[-1]))
            case OutOfScope(key=key):
                found.append(("out of scope", key[-1]))
    return found


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
    }
    assert intent.state == {
        "bill_id": "bill1",
        "subscription_id": "sub1",
        "invoice_id": "draft1",
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
            [("MB-BILL-LINE", "bill1", 1200)],
            id="one-bad-line",
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
            [("create", "sub1", 1000), ("MB-BILL-NEGATIVE", "sub2", -250)],
            id="a-negative-portion-blocks-only-itself",
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
            [("MB-BILL-NEGATIVE", "sub1", -150)],
            id="left-negative",
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


# --- what stands already -------------------------------------------------------------------


def applied(world, **changes):
    return tuple(stand(one) for one in decide_bill(world, policy(**changes)) if isinstance(one, Intent))


THREE = (line("l1", "0.335"), line("l2", "0.335", 2), line("l3", "0.33", 3))


def test_a_charged_bill_is_unchanged():
    standing = applied(case(bill(*THREE)))
    assert told(decide_bill(case(bill(*THREE), standing=standing), policy())) == [("unchanged", "sub1")]


def test_only_the_missing_lines_are_sent_and_the_sum_ends_exact():
    standing = applied(case(bill(*THREE)))[1:]
    assert told(decide_bill(case(bill(*THREE), standing=standing), policy())) == [("create", "sub1", 34)]


def test_the_missing_lines_join_those_that_stand():
    standing = applied(case(bill(*THREE), invoices=(draft(1, id="begun"),)))[1:]
    world = case(bill(*THREE), standing=standing, invoices=(draft(1, id="begun", at=MAY), draft(1)))
    [intent] = decide_bill(world, policy())
    assert intent.payload["invoice_id"] == "begun"


def test_units_sent_before_are_kept_by_a_recalculation():
    standing = applied(case(bill(*THREE)))
    moved = (line("l1", "0.334"), line("l2", "0.336", 2), line("l3", "0.33", 3))
    assert told(decide_bill(case(bill(*moved), standing=standing), policy())) == [("unchanged", "sub1")]


@pytest.mark.parametrize(
    ("now_wanted", "settled", "expected"),
    [
        pytest.param("7", {}, ("MB-BILL-CHANGED", "sub1", 200), id="more"),
        pytest.param("4", {}, ("MB-BILL-CHANGED", "sub1", -100), id="less"),
        pytest.param("0", {}, ("MB-BILL-CHANGED", "sub1", -500), id="nothing"),
        pytest.param("7", {"sub1": 200}, ("unchanged", "sub1"), id="a-person-settled-the-difference"),
        pytest.param("7", {"sub1": 100}, ("MB-BILL-CHANGED", "sub1", 100), id="a-person-settled-a-part"),
    ],
)
def test_a_bill_that_changed_is_set_aside_with_the_exact_difference(now_wanted, settled, expected):
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", now_wanted)), standing=standing, settled=settled)
    assert told(decide_bill(world, policy())) == [expected]


def test_the_change_names_the_invoice_and_the_difference():
    standing = applied(case(bill(line("l1", "5"))))
    [decision] = decide_bill(case(bill(line("l1", "7")), standing=standing), policy())
    assert "draft1 (pending)" in decision.message
    assert "2.00 EUR" in decision.message


def test_a_settled_portion_sends_nothing():
    world = case(bill(line("l1", "-5")), settled={"sub1": -500})
    assert told(decide_bill(world, policy())) == [("unchanged", "sub1")]


def test_a_line_that_appeared_later_is_sent_alone():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), line("l2", "3", 2)), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub1", 300)]


def test_money_that_moved_to_another_subscription_is_set_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5", plan="plan2")), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub2", 500), ("MB-BILL-CHANGED", "sub1", -500)]


def test_a_voided_invoice_sets_its_portion_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5")), standing=standing, invoices=(draft(1, status="voided"),))
    assert told(decide_bill(world, policy())) == [("MB-VOIDED", "sub1", 500)]


def test_a_charged_bill_that_is_pending_again_is_set_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), status="PENDING"), standing=standing)
    assert told(decide_bill(world, policy())) == [("MB-BILL-UNAPPROVED", "sub1", 500)]


def test_a_deleted_bill_sets_every_portion_aside():
    standing = applied(case(bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"), line("l3", "1", 3))))
    assert told(decide_vanished("bill1", standing)) == [
        ("MB-BILL-DELETED", "sub1", 600),
        ("MB-BILL-DELETED", "sub2", 300),
    ]
    assert decide_vanished("bill1", ()) == []


def test_netting_does_not_pass_for_another_rounding():
    lines = [line("l1", "1.005"), line("l2", "-0.01", 2), line("l3", "1.005", 3, plan="plan2")]
    only_one_draft = {"invoices": (draft(1),)}
    standing = applied(case(bill(*lines), **only_one_draft))
    assert [one.amount for one in standing] == [100]
    decisions = decide_bill(case(bill(*lines), standing=standing, **only_one_draft), policy())
    assert told(decisions) == [("unchanged", "sub1"), ("waiting", "sub2", 100, MAY)]


# --- properties ----------------------------------------------------------------------------

amounts = st.builds(
    lambda units, power: Decimal(units).scaleb(power), st.integers(-(10**12), 10**12), st.integers(-9, 0)
)
bills = st.lists(st.tuples(amounts, st.sampled_from(["plan1", "plan2"]), st.sampled_from(["p1", "p2"])), max_size=8)


def built(rows):
    return bill(*(line(f"l{n}", amount, n, where, what) for n, (amount, where, what) in enumerate(rows)))


@settings(max_examples=80, deadline=None)
@given(bills, st.booleans(), st.sampled_from(["line", "aggregation", "product"]))
def test_charges_and_what_is_set_aside_sum_to_the_rounded_bill(rows, across, grouping):
    decisions = decide_bill(case(built(rows)), policy(net_across_subscriptions=across, charge_grouping=grouping))
    total = sum(one.amount for one in decisions if isinstance(one, Intent | Quarantined))
    exact = sum((amount * 100 for amount, _, _ in rows), Decimal(0))
    assert abs(total - exact) <= Decimal("0.5")
    assert all(one.amount > 0 for one in decisions if isinstance(one, Intent))


drafts = st.sampled_from([(), (draft(1),), (draft(2),), (draft(1), draft(2))])


@settings(max_examples=150, deadline=None)
@given(bills, drafts, st.booleans(), st.sampled_from(["line", "aggregation", "product"]))
def test_deciding_again_with_what_was_applied_intends_nothing(rows, invoices, across, grouping):
    rules = {"net_across_subscriptions": across, "charge_grouping": grouping}
    first = decide_bill(case(built(rows), invoices=invoices), policy(**rules))
    standing = tuple(stand(one) for one in first if isinstance(one, Intent))
    again = decide_bill(case(built(rows), invoices=invoices, standing=standing), policy(**rules))
    charged = {line.subscription_id for line in standing}
    assert [one for one in again if isinstance(one, Intent)] == []
    assert [one for one in again if one.key[-1] not in charged] == [one for one in first if not isinstance(one, Intent)]
    assert all(isinstance(one, Unchanged) for one in again if one.key[-1] in charged)


@settings(max_examples=60, deadline=None)
@given(bills, st.data())
def test_after_a_crash_the_rest_makes_the_sum_exact(rows, data):
    full = applied(case(built(rows)))
    kept = tuple(one for one in full if data.draw(st.booleans()))
    rest = applied(case(built(rows), standing=kept))
    assert sorted((one.key, one.amount) for one in kept + rest) == sorted((one.key, one.amount) for one in full)
