from datetime import UTC, datetime, timedelta

import pytest

from meterbridge.rules.invoices import (
    Ambiguous,
    Chosen,
    Demand,
    NoInvoice,
    choose_invoice,
    outlook,
    price_type_of,
    tolerance,
)
from meterbridge.rules.records import Invoice, InvoiceLine, SubscriptionFacts

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def facts(**changes):
    known = {
        "id": "sub",
        "customer_id": "cust",
        "invoice_owner_id": None,
        "status": "active",
        "currency": "EUR",
        "created_at": None,
        "next_billing_at": None,
        "current_term_end": None,
        "consolidated": False,
    }
    return SubscriptionFacts(**{**known, **changes})


def draft(name, at=APRIL, subscription="sub", lines=(), **changes):
    known = {
        "id": name,
        "status": "pending",
        "customer_id": "cust",
        "subscription_id": subscription,
        "currency": "EUR",
        "date": at,
        "price_type": "tax_exclusive",
        "lines": tuple(
            InvoiceLine(f"li{index}", "plan_item_price", "x", "", None, None, 1, owner)
            for index, owner in enumerate(lines)
        ),
    }
    return Invoice(**{**known, **changes})


def choose(invoices, due=APRIL, hours=36, standing_on=(), **subscription):
    demand = Demand(facts(**subscription), "EUR", due, hours * HOUR, frozenset(standing_on))
    return choose_invoice(invoices, demand)


def chosen_id(choice):
    match choice:
        case Chosen(invoice, late):
            return (invoice.id, "late") if late else invoice.id
        case NoInvoice():
            return None
        case Ambiguous(invoices):
            return tuple(invoice.id for invoice in invoices)


@pytest.mark.parametrize(
    ("invoices", "expected"),
    [
        pytest.param([], None, id="no-invoice-at-all"),
        pytest.param([draft("d")], "d", id="dated-at-the-service-end"),
        pytest.param([draft("d", APRIL - 36 * HOUR)], "d", id="at-the-edge-of-the-tolerance"),
        pytest.param([draft("d", APRIL - 37 * HOUR)], ("d", "late"), id="an-older-draft-is-better-than-none"),
        pytest.param([draft("b", APRIL + HOUR), draft("a", APRIL + 2 * HOUR)], "b", id="the-earliest-fitting"),
        pytest.param([draft("old", APRIL - 720 * HOUR), draft("new")], "new", id="an-older-cycle-is-passed-over"),
        pytest.param(
            [draft("older", APRIL - 1400 * HOUR), draft("old", APRIL - 700 * HOUR)],
            ("old", "late"),
            id="a-late-bill-goes-on-the-newest",
        ),
        pytest.param([draft("d", status="posted")], None, id="closed-ones-take-nothing"),
        pytest.param([draft("d", currency="USD")], None, id="another-currency"),
        pytest.param([draft("d", currency="eur")], None, id="currency-codes-are-case-sensitive"),
        pytest.param([draft("d", subscription="other")], None, id="another-subscriptions-draft"),
        pytest.param([draft("d", customer_id="stranger")], None, id="another-customers-draft"),
        pytest.param([draft("d", None)], ("d", "late"), id="a-draft-without-a-date-is-the-last-resort"),
        pytest.param([draft("d", subscription=None)], None, id="a-shared-draft-without-a-line-of-ours"),
        pytest.param([draft("d", subscription=None, lines=["sub"])], "d", id="a-shared-draft-with-a-line-of-ours"),
        pytest.param([draft("a"), draft("b")], ("a", "b"), id="two-equal-drafts-decide-nothing"),
        pytest.param([draft("a", subscription=None, lines=["sub"]), draft("b")], "b", id="our-own-draft-decides"),
        pytest.param(
            [draft("a", APRIL - 900 * HOUR), draft("b", APRIL - 900 * HOUR)], ("a", "b"), id="two-equal-late-drafts"
        ),
    ],
)
def test_the_pending_invoice_is_the_one_expected(invoices, expected):
    assert chosen_id(choose(invoices)) == expected
    assert chosen_id(choose(list(reversed(invoices)))) == expected


def test_consolidated_invoicing_makes_a_shared_draft_ours():
    shared = [draft("a", subscription=None, lines=["other"])]
    assert chosen_id(choose(shared, consolidated=True)) == "a"


def test_a_line_of_ours_decides_between_two_shared_drafts():
    shared = [draft("a", subscription=None), draft("b", subscription=None, lines=["sub"])]
    assert chosen_id(choose(shared, consolidated=True)) == "b"


def test_the_invoice_owners_draft_takes_the_portion():
    assert chosen_id(choose([draft("d", customer_id="owner")], invoice_owner_id="owner")) == "d"


def test_a_begun_portion_stays_on_its_draft():
    drafts = [draft("a"), draft("b", APRIL + 700 * HOUR)]
    assert chosen_id(choose(drafts, standing_on=["b"])) == "b"


def test_without_a_service_end_the_earliest_draft_fits():
    assert chosen_id(choose([draft("a", APRIL - 99 * HOUR), draft("b")], due=None)) == "a"


@pytest.mark.parametrize(
    ("service", "hours", "expected"),
    [
        pytest.param(timedelta(days=31), 36, 36 * HOUR, id="a-month-keeps-the-setting"),
        pytest.param(timedelta(days=1), 36, 12 * HOUR, id="a-day-halves-to-twelve-hours"),
        pytest.param(timedelta(0), 36, timedelta(0), id="an-instant-has-none"),
    ],
)
def test_the_tolerance_is_at_most_half_the_service_period(service, hours, expected):
    assert tolerance(service, hours) == expected


def ahead(days):
    return APRIL + timedelta(days=days)


@pytest.mark.parametrize(
    ("subscription", "since", "waits", "until"),
    [
        pytest.param({"next_billing_at": ahead(30)}, None, True, ahead(30), id="a-monthly-one-waits"),
        pytest.param({"next_billing_at": ahead(35)}, None, True, ahead(35), id="at-most-35-days"),
        pytest.param({"next_billing_at": ahead(36)}, None, False, ahead(36), id="not-36"),
        pytest.param({"next_billing_at": ahead(300)}, None, False, ahead(300), id="an-annual-one-does-not"),
        pytest.param({"next_billing_at": ahead(5), "status": "cancelled"}, None, False, None, id="cancelled"),
        pytest.param({"next_billing_at": ahead(5), "status": "transferred"}, None, False, None, id="transferred"),
        pytest.param({}, None, False, None, id="no-next-billing"),
        pytest.param(
            {"status": "non_renewing", "current_term_end": ahead(9)}, None, True, ahead(9), id="the-last-invoice-comes"
        ),
        pytest.param({"next_billing_at": ahead(-1)}, None, True, ahead(-1), id="the-invoice-is-due-any-moment"),
        pytest.param({"next_billing_at": ahead(-36)}, None, False, ahead(-36), id="it-never-came"),
        pytest.param({"next_billing_at": ahead(20)}, ahead(-35), True, ahead(20), id="waited-35-days"),
        pytest.param({"next_billing_at": ahead(20)}, ahead(-36), False, ahead(20), id="waited-too-long"),
    ],
)
def test_a_portion_waits_only_for_an_invoice_to_be_expected(subscription, since, waits, until):
    found = outlook(facts(**subscription), APRIL, max_wait_days=35, waiting_since=since)
    assert (found.waits, found.until) == (waits, until)


def test_net_bills_fit_tax_exclusive_invoices():
    assert (price_type_of("net"), price_type_of("gross")) == ("tax_exclusive", "tax_inclusive")
