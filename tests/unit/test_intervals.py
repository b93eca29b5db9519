"""When a subscription is metered, state by state; instants by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from meterbridge.errors import RecordRefused
from meterbridge.rules.intervals import change_instant, desired_interval, instant_text, overlap
from meterbridge.rules.records import Interval, Subscription

JAN, FEB, MAR, APR, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6))
MINUTE = timedelta(minutes=1)


def subscription(status, **fields):
    values = dict.fromkeys(Subscription.__dataclass_fields__)
    values |= {"id": "sub", "customer_id": "acme", "status": status, "currency": "EUR", "items": ()}
    values |= {"deleted": False, "resource_version": 1, "created_at": JAN, "started_at": JAN}
    return Subscription(**(values | fields))


STATES = [
    pytest.param("future", {"started_at": None, "start_date": MAR}, "free", (MAR, None), id="future-from-its-start"),
    pytest.param(
        "future", {"start_date": MAR, "trial_end": APR}, "free", (APR, None), id="future-with-trial-from-trial-end"
    ),
    pytest.param(
        "future", {"start_date": MAR, "trial_end": APR}, "billed", (MAR, None), id="future-with-billed-trial-from-start"
    ),
    pytest.param(
        "future", {"start_date": MAR, "cancelled_at": MAR}, "free", None, id="future-cancelled-at-start-is-none"
    ),
    pytest.param("future", {"start_date": MAR, "cancelled_at": APR}, "free", (MAR, APR), id="future-with-an-end"),
    pytest.param("in_trial", {"trial_end": FEB}, "free", (FEB, None), id="trial-from-its-end"),
    pytest.param("in_trial", {"trial_end": FEB}, "billed", (JAN, None), id="billed-trial-from-the-start"),
    pytest.param(
        "in_trial", {"trial_end": FEB, "cancelled_at": FEB}, "free", None, id="trial-that-will-cancel-is-none"
    ),
    pytest.param(
        "in_trial", {"trial_end": FEB, "cancelled_at": FEB}, "billed", (JAN, FEB), id="billed-trial-that-will-cancel"
    ),
    pytest.param("in_trial", {"trial_end": FEB, "cancelled_at": MAR}, "free", (FEB, MAR), id="trial-with-a-later-end"),
    pytest.param("active", {}, "free", (JAN, None), id="active-is-open"),
    pytest.param("active", {"cancelled_at": MAR}, "free", (JAN, None), id="active-ignores-a-stale-cancelled-at"),
    pytest.param("active", {"activated_at": JAN}, "free", (JAN, None), id="active-from-activation"),
    pytest.param("active", {"trial_end": FEB, "activated_at": FEB}, "free", (FEB, None), id="after-trial-from-its-end"),
    pytest.param(
        "active",
        {"trial_end": FEB, "activated_at": FEB + timedelta(seconds=7)},
        "free",
        (FEB, None),
        id="seconds-of-a-late-activation-do-not-count",
    ),
    pytest.param(
        "active", {"trial_end": FEB, "activated_at": FEB}, "billed", (JAN, None), id="after-billed-trial-from-start"
    ),
    pytest.param("active", {"trial_end": APR, "activated_at": FEB}, "free", (FEB, None), id="trial-cut-short"),
    pytest.param("active", {"activated_at": MAR}, "free", (MAR, None), id="reactivated-from-activation"),
    pytest.param(
        "active", {"trial_end": FEB, "activated_at": APR}, "billed", (APR, None), id="reactivated-after-billed-trial"
    ),
    pytest.param("non_renewing", {"cancelled_at": MAR, "current_term_end": APR}, "free", (JAN, MAR), id="non-renewing"),
    pytest.param("non_renewing", {"current_term_end": APR}, "free", (JAN, APR), id="non-renewing-to-term-end"),
    pytest.param("cancelled", {"cancelled_at": MAR}, "free", (JAN, MAR), id="cancelled-exactly-then"),
    pytest.param(
        "cancelled", {"cancelled_at": MAR, "current_term_end": APR}, "free", (JAN, MAR), id="cancelled-inside-its-term"
    ),
    pytest.param("cancelled", {"cancelled_at": JAN}, "free", None, id="cancelled-at-its-start-is-none"),
    pytest.param("cancelled", {"trial_end": FEB, "cancelled_at": JAN + MINUTE}, "free", None, id="cancelled-in-trial"),
    pytest.param(
        "cancelled",
        {"trial_end": FEB, "cancelled_at": JAN + MINUTE},
        "billed",
        (JAN, JAN + MINUTE),
        id="cancelled-in-billed-trial",
    ),
    pytest.param("paused", {"pause_date": MAR, "resume_date": APR}, "free", (JAN, MAR), id="paused-ends-at-the-pause"),
    pytest.param("paused", {"pause_date": JAN}, "free", None, id="paused-from-the-start-is-none"),
    pytest.param("transferred", {"updated_at": MAR}, "free", (JAN, MAR), id="transferred-ends-at-the-transfer"),
]


@pytest.mark.parametrize(("status", "fields", "trial", "expected"), STATES)
def test_interval_follows_from_the_record(status, fields, trial, expected):
    wanted = None if expected is None else Interval(*expected)
    assert desired_interval(subscription(status, **fields), trial=trial) == wanted


@pytest.mark.parametrize(
    ("fields", "known_end", "end"),
    [
        pytest.param({"updated_at": APR}, None, APR, id="at-deletion"),
        pytest.param({"updated_at": APR, "cancelled_at": MAR}, None, MAR, id="at-cancellation-before"),
        pytest.param({"updated_at": APR, "cancelled_at": MAR}, FEB, FEB, id="never-later-than-known"),
        pytest.param({"updated_at": APR}, MAY, APR, id="before-a-known-later-end"),
    ],
)
def test_deletion_ends_at_the_earliest_end(fields, known_end, end):
    deleted = subscription("active", deleted=True, **fields)
    assert desired_interval(deleted, trial="free", known_end=known_end) == Interval(JAN, end)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        pytest.param("frozen", {}, id="unknown-status"),
        pytest.param("future", {"start_date": None}, id="future-without-start"),
        pytest.param("in_trial", {}, id="trial-without-end"),
        pytest.param("non_renewing", {}, id="non-renewing-without-end"),
        pytest.param("cancelled", {}, id="cancelled-without-instant"),
        pytest.param("paused", {}, id="paused-without-pause-date"),
        pytest.param("active", {"started_at": None, "created_at": None}, id="no-start-at-all"),
    ],
)
def test_a_state_without_its_instant_is_refused(status, fields):
    with pytest.raises(RecordRefused) as refusal:
        desired_interval(subscription(status, **fields), trial="free")
    assert refusal.value.code == "MB-STATUS"
    assert "sub" in refusal.value.message


@pytest.mark.parametrize(
    ("changed_at", "updated_at", "expected"),
    [
        pytest.param(FEB, MAR + MINUTE, FEB, id="the-event-knows-best"),
        pytest.param(None, MAR + timedelta(seconds=40), MAR, id="at-term-end-it-is-the-term-start"),
        pytest.param(None, MAR, MAR, id="on-the-term-start"),
        pytest.param(None, MAR + 2 * MINUTE, MAR + 2 * MINUTE, id="inside-the-term-it-is-updated-at"),
        pytest.param(None, MAR - MINUTE, MAR - MINUTE, id="before-the-term-it-is-updated-at"),
        pytest.param(None, None, APR, id="without-any-fact-it-is-now"),
        pytest.param(MAY, None, APR, id="never-in-the-future"),
    ],
)
def test_instant_of_a_change(changed_at, updated_at, expected):
    record = subscription("active", current_term_start=MAR, updated_at=updated_at)
    assert change_instant(record, changed_at, APR) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param((JAN, FEB), (FEB, MAR), False, id="touching"),
        pytest.param((JAN, MAR), (FEB, APR), True, id="crossing"),
        pytest.param((JAN, None), (MAR, None), True, id="both-open"),
        pytest.param((JAN, None), (FEB, MAR), True, id="inside-an-open-one"),
        pytest.param((APR, None), (JAN, MAR), False, id="apart"),
    ],
)
def test_overlap_of_half_open_intervals(first, second, expected):
    assert overlap(Interval(*first), Interval(*second)) is expected
    assert overlap(Interval(*second), Interval(*first)) is expected


def test_instants_are_written_with_z_and_milliseconds_where_there_are_any():
    assert instant_text(MAR) == "2026-03-01T00:00:00Z"
    assert instant_text(MAR + timedelta(milliseconds=250)) == "2026-03-01T00:00:00.250Z"
