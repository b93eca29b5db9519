"""The day from which m3ter counts billing periods: where a subscription's full terms begin."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from meterbridge.rules.bill_epochs import billing_epoch, full_terms
from tests.unit.plan_world import sub

BERLIN, NEW_YORK, KOLKATA = (ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Asia/Kolkata"))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def term(begin, end, unit="month", every=1, **fields):
    """A subscription in the term from ``begin`` to ``end``."""
    instants = {"current_term_start": at(begin), "current_term_end": None if end is None else at(end)}
    return sub(billing_period=every, billing_period_unit=unit, **instants | fields)


def terms_of(subscription, zone=UTC):
    return full_terms(subscription, zone, at("2026-01-01"))


@pytest.mark.parametrize(
    ("subscription", "zone", "epoch"),
    [
        pytest.param(term("2026-11-24T10:00", "2026-12-24T10:00"), UTC, "2026-11-24", id="anniversary"),
        pytest.param(term("2026-11-24T10:00", "2026-12-01"), UTC, "2026-12-01", id="partial-term-of-calendar-billing"),
        pytest.param(term("2026-12-01", "2027-01-01"), UTC, "2026-12-01", id="first-full-term-of-calendar-billing"),
        pytest.param(term("2026-11-24", "2027-01-11"), UTC, "2027-01-11", id="end-moved-later"),
        pytest.param(term("2026-11-24", "2026-12-20"), UTC, "2026-12-20", id="end-moved-earlier"),
        pytest.param(term("2026-11-30T23:00", "2026-12-31T23:00"), BERLIN, "2026-12-01", id="midnight-east-of-utc"),
        pytest.param(term("2026-11-30T18:30", "2026-12-31T18:30"), KOLKATA, "2026-12-01", id="midnight-in-kolkata"),
        pytest.param(term("2026-12-01T05:00", "2027-01-01T05:00"), NEW_YORK, "2026-12-01", id="midnight-west-of-utc"),
        pytest.param(term("2026-03-01T05:00", "2026-04-01T04:00"), NEW_YORK, "2026-03-01", id="summer-time-begins"),
        pytest.param(term("2026-03-01", "2026-03-31T23:00"), UTC, "2026-03-01", id="summer-time-at-the-site-alone"),
        pytest.param(term("2026-01-31", "2026-02-28"), UTC, "2026-01-31", id="last-of-the-month"),
        pytest.param(term("2026-02-28", "2026-03-31"), UTC, "2026-03-31", id="february-hides-the-31st"),
        pytest.param(term("2026-02-28", "2026-03-28"), UTC, "2026-02-28", id="the-28th-of-february"),
        pytest.param(term("2026-11-30T23:00", "2026-12-31T23:00"), UTC, "2026-12-31", id="berlin-site"),
        pytest.param(term("2024-02-29", "2025-02-28", "year"), UTC, "2024-02-29", id="leap-day"),
        pytest.param(term("2026-11-24", "2027-01-01", "year"), UTC, "2027-01-01", id="partial-year"),
        pytest.param(term("2026-11-02", "2026-11-09", "week"), UTC, "2026-11-02", id="week"),
        pytest.param(term("2026-11-04", "2026-11-09", "week"), UTC, "2026-11-09", id="partial-week"),
        pytest.param(term("2026-11-02", "2026-11-16", "day", 14), UTC, "2026-11-02", id="fortnight"),
        pytest.param(term("2026-11-02", "2027-02-02", "month", 3), UTC, "2026-11-02", id="quarter"),
        pytest.param(
            term("2026-11-01", None, status="in_trial", trial_end=at("2026-12-05")), UTC, "2026-12-05", id="trial"
        ),
        pytest.param(
            term("2026-11-01", None, status="future", start_date=at("2027-01-10")), UTC, "2027-01-10", id="future"
        ),
        pytest.param(
            sub("future", start_date=at("2027-01-10"), trial_end=at("2027-01-20")), UTC, "2027-01-20", id="future-trial"
        ),
        pytest.param(term("2026-11-24", "2026-12-09", status="cancelled"), UTC, "2026-11-24", id="cut-short"),
        pytest.param(sub("cancelled", current_term_start=None), UTC, "2026-01-01", id="no-term-shown"),
        pytest.param(term("2026-11-24", "2026-12-24", None, None), UTC, "2026-11-24", id="no-period-shown"),
    ],
)
def test_the_epoch_is_the_local_day_on_which_full_terms_begin(subscription, zone, epoch):
    assert terms_of(subscription, zone).epoch == date.fromisoformat(epoch)


@pytest.mark.parametrize(
    ("subscription", "epoch", "fits"),
    [
        pytest.param(term("2026-12-24", "2027-01-24"), "2026-11-24", True, id="renewed"),
        pytest.param(term("2027-01-01", "2027-02-01"), "2026-12-01", True, id="calendar-billing-renewed"),
        pytest.param(term("2026-12-01", "2027-01-01"), "2026-11-24", False, id="day-of-the-partial-term"),
        pytest.param(term("2026-03-31", "2026-04-30"), "2026-01-31", True, id="months-without-the-31st"),
        pytest.param(term("2026-02-28", "2026-03-31"), "2026-02-28", False, id="the-28th-where-the-31st-is-meant"),
        pytest.param(term("2026-03-31T23:00", "2026-04-30T23:00"), "2026-03-01", True, id="an-hour-of-summer-time"),
        pytest.param(term("2026-11-24", "2027-01-24"), "2026-11-24", True, id="two-months-in-one-term"),
        pytest.param(term("2026-12-01", "2027-03-01", every=3), "2026-11-01", False, id="quarter-out-of-step"),
    ],
)
def test_an_epoch_fits_while_term_boundaries_fall_on_its_cycle(subscription, epoch, fits):
    assert terms_of(subscription).fit(date.fromisoformat(epoch)) is fits


def test_an_account_plan_takes_the_epoch_of_its_sisters_where_it_fits():
    terms = terms_of(term("2026-12-24", "2027-01-24"))
    wrong, right, other = date(2026, 11, 25), date(2026, 10, 24), date(2026, 11, 24)
    assert billing_epoch(terms, [wrong, right, other]) == right
    assert billing_epoch(terms, [wrong]) == billing_epoch(terms) == date(2026, 12, 24)
    assert billing_epoch(terms, [right], exact=True) == date(2026, 12, 24)
