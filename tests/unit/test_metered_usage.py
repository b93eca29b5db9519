"""What Chargebee bills of a subscription's usage, and what becomes of a period's record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meterbridge.rules.metered_usage import (
    MeteredSubscription,
    Span,
    UsageGroup,
    UsageRecord,
    decide,
    quantity_text,
    spans,
    usage_id,
)
from meterbridge.rules.records import Decision, Intent, Quarantined, Unchanged


def day(month: int, number: int) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


SUB = MeteredSubscription("s", "active", day(1, 15), day(3, 15), None, None, 1, "month")


@pytest.mark.parametrize(
    ("subscription", "expected"),
    [
        pytest.param(
            SUB,
            [(None, day(1, 15), "inactive"), (day(1, 15), day(3, 15), "invoiced"), (day(3, 15), None, None)],
            id="only-the-current-term-is-billed",
        ),
        pytest.param(
            replace(SUB, drafts=(day(3, 15),)),
            [
                (None, day(1, 15), "inactive"),
                (day(1, 15), day(2, 15), "invoiced"),
                (day(2, 15), day(3, 15), None),
                (day(3, 15), None, None),
            ],
            id="a-pending-invoice-still-gathers-the-term-it-ends",
        ),
        pytest.param(
            replace(SUB, activated_at=day(1, 31), term_start=day(3, 31), drafts=(day(3, 31),)),
            [
                (None, day(1, 31), "inactive"),
                (day(1, 31), day(2, 28), "invoiced"),
                (day(2, 28), day(3, 31), None),
                (day(3, 31), None, None),
            ],
            id="a-term-from-the-last-of-february",
        ),
        pytest.param(
            replace(SUB, status="non_renewing", cancelled_at=day(4, 15)),
            [
                (None, day(1, 15), "inactive"),
                (day(1, 15), day(3, 15), "invoiced"),
                (day(3, 15), day(4, 15), None),
                (day(4, 15), None, "inactive"),
            ],
            id="non-renewing-until-it-ends",
        ),
        pytest.param(
            replace(SUB, status="cancelled", cancelled_at=day(3, 20)),
            [
                (None, day(1, 15), "inactive"),
                (day(1, 15), day(3, 15), "invoiced"),
                (day(3, 15), day(3, 20), "invoiced"),
                (day(3, 20), None, "inactive"),
            ],
            id="cancelled-and-the-final-invoice-is-closed",
        ),
        pytest.param(
            replace(SUB, status="cancelled", cancelled_at=day(3, 20), drafts=(day(3, 20),)),
            [
                (None, day(1, 15), "inactive"),
                (day(1, 15), day(3, 15), "invoiced"),
                (day(3, 15), day(3, 20), None),
                (day(3, 20), None, "inactive"),
            ],
            id="cancelled-and-the-final-invoice-is-pending",
        ),
        pytest.param(
            replace(SUB, status="paused", pause_date=day(3, 18)),
            [
                (None, day(1, 15), "inactive"),
                (day(1, 15), day(3, 15), "invoiced"),
                (day(3, 15), day(3, 18), None),
                (day(3, 18), None, "inactive"),
            ],
            id="paused",
        ),
        pytest.param(replace(SUB, status="in_trial"), [(None, None, "inactive")], id="in-trial"),
        pytest.param(
            replace(SUB, status="future", activated_at=None, term_start=None), [(None, None, "inactive")], id="future"
        ),
    ],
)
def test_time_is_cut_by_what_chargebee_bills(
    subscription: MeteredSubscription, expected: list[tuple[datetime | None, datetime | None, str | None]]
) -> None:
    assert spans(subscription) == [Span(*each) for each in expected]  # type: ignore[arg-type]


GROUP = UsageGroup("m", "s", "calls", 1_773_705_600, "sum_of_usages", Decimal("12.50"), 3, ("a", "b"))
KNOWN = UsageRecord(usage_id(GROUP.key, 1), "10", 2, 1, ("a",))


def outline(decisions: list[Decision]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for one in decisions:
        match one:
            case Intent():
                found.append((f"{one.kind}.{one.action}", one.payload.get("quantity", one.payload["usage_id"])))
            case Quarantined():
                found.append((one.code,))
            case Unchanged():
                found.append(("unchanged",))
            case _:
                raise AssertionError(one)
    return found


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        pytest.param(GROUP, [("usage.create", "12.5")], id="new"),
        pytest.param(replace(GROUP, known=replace(KNOWN, quantity="12.5"), seen=1), [("unchanged",)], id="as-known"),
        pytest.param(
            replace(GROUP, known=KNOWN, seen=1),
            [("usage_removal.delete", KNOWN.usage_id), ("usage.create", "12.5")],
            id="a-late-row-replaces-the-record",
        ),
        pytest.param(replace(GROUP, known=KNOWN, seen=0), [("MB-USAGE-PART",)], id="rows-of-before-are-missing"),
        pytest.param(
            replace(GROUP, known=replace(KNOWN, rows=9), seen=1), [("MB-USAGE-PART",)], id="fewer-rows-than-before"
        ),
        pytest.param(replace(GROUP, closed="invoiced"), [("MB-USAGE-PERIOD",)], id="invoiced-and-never-sent"),
        pytest.param(
            replace(GROUP, closed="invoiced", known=KNOWN, seen=1), [("MB-USAGE-INVOICED",)], id="changed-too-late"
        ),
        pytest.param(
            replace(GROUP, closed="invoiced", known=replace(KNOWN, quantity="12.5"), seen=1),
            [("unchanged",)],
            id="invoiced-as-sent",
        ),
        pytest.param(replace(GROUP, quantity=Decimal(0)), [("unchanged",)], id="a-sum-of-nothing-needs-no-record"),
        pytest.param(
            replace(GROUP, quantity=Decimal(0), known=KNOWN, seen=1),
            [("usage_removal.delete", KNOWN.usage_id)],
            id="a-sum-that-became-nothing",
        ),
        pytest.param(
            replace(GROUP, quantity=Decimal(0), calculation="last_usage"),
            [("MB-USAGE-QUANTITY",)],
            id="a-last-usage-of-zero-cannot-be-said",
        ),
        pytest.param(replace(GROUP, quantity=Decimal("0.5")), [("MB-USAGE-QUANTITY",)], id="below-one"),
        pytest.param(replace(GROUP, quantity=Decimal(-4)), [("MB-USAGE-QUANTITY",)], id="negative"),
        pytest.param(replace(GROUP, quantity=Decimal("9" * 41)), [("MB-USAGE-QUANTITY",)], id="41-digits"),
    ],
)
def test_a_period_becomes_one_record(group: UsageGroup, expected: list[tuple[str, ...]]) -> None:
    assert outline(decide([group], 0)) == expected


def test_a_record_is_made_anew_under_an_id_that_was_never_used() -> None:
    deleted = replace(KNOWN, revision=4, active=False)
    (made,) = decide([replace(GROUP, known=deleted)], 4)
    assert isinstance(made, Intent)
    assert made.payload["usage_id"] == usage_id(GROUP.key, 5)
    assert made.depends_on == ()
    assert len(made.payload["usage_id"]) <= 100


def test_rows_missing_from_one_record_hold_all_of_its_item_price_and_no_other() -> None:
    partial = replace(GROUP, known=KNOWN, seen=0)
    beside = replace(GROUP, date=GROUP.date + 50_000)
    other = replace(GROUP, item_price_id="seats")
    assert outline(decide([partial, beside, other], 0)) == [
        ("MB-USAGE-PART",),
        ("MB-USAGE-PART",),
        ("usage.create", "12.5"),
    ]


def test_a_subscription_takes_five_thousand_records_in_its_life() -> None:
    groups = [replace(GROUP, date=GROUP.date + n) for n in range(3)]
    assert outline(decide(groups, 4_998)) == [("usage.create", "12.5")] * 2 + [("MB-USAGE-LIMIT",)]


def test_a_quantity_has_no_exponent() -> None:
    assert [quantity_text(Decimal(text)) for text in ("1E+3", "0.10", "7", "100")] == ["1000", "0.1", "7", "100"]
