"""Usage from a file into the sandbox's Chargebee: one record a period, each once, never one that is not billed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flows.sync_usage import sync_usage
from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import (
    put_price,
)
from tasks.report_usage import UsageReport
from tests.flows.crash_worlds import put_metered

CALLS, SEATS, PEAK = "calls-EUR-Monthly", "seats-EUR-Monthly", "peak-EUR-Monthly"
METERED = {CALLS: "sum_of_usages", SEATS: "last_usage", PEAK: "max_usage"}
MAPPING = """\
name: metered
ts: at
key: [id]
chargebee: {subscription: sub, item_price: {column: price}, quantity: used}
"""
FIRST, SECOND = epoch(2026, 3, 1), epoch(2026, 3, 2)

Row = tuple[str, str, str, str]
"""Subscription, item price, instant, quantity; the row's number is its id."""


class Metered:
    """A site with metered items, and files of their usage."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.mapping = folder / "usage.yaml"
        self.mapping.write_text(MAPPING, encoding="utf-8")

    def sync(self, *rows: Row, name: str = "usage.csv", **options: object) -> UsageReport:
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["id", "sub", "price", "at", "used"])
            writer.writerows([f"r{number}", *row] for number, row in enumerate(rows))
        return sync_usage.fn(str(self.mapping), [str(path)], to="chargebee", **options)

    def records(self) -> list[tuple[str, int, str]]:
        """(item price, usage_date, quantity) of each record at Chargebee, sorted."""
        with self.sandbox.world.lock:
            rows = list(self.sandbox.world.chargebee.usages.rows())
        return sorted((row["item_price_id"], row["usage_date"], row["quantity"]) for row in rows)

    def writes(self) -> int:
        return sum(each.method == "POST" and "usage" in each.path for each in self.sandbox.world.log)


@pytest.fixture
def site(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Metered:
    sandbox = open_sandbox("empty", METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE="60000")
    world = sandbox.world
    with world.lock:
        put_metered(world, METERED)
    return Metered(sandbox, tmp_path)


def used(price: str, day: str, quantity: str, subscription: str = "sub-a") -> Row:
    return (subscription, price, f"2026-{day}Z" if "T" in day else f"2026-{day}T10:00:00Z", quantity)


def codes(report: UsageReport) -> list[str]:
    return [row["code"] for row in report.quarantined]


THREE_OF_EACH = [
    used(price, day, quantity)
    for price in METERED
    for day, quantity in (("03-01T08:00:00", "5"), ("03-01T20:00:00", "2.5"), ("03-01T12:00:00", "4"))
]


def test_rows_of_a_day_make_one_record_as_the_item_says_and_a_second_run_sends_nothing(site: Metered) -> None:
    report = site.sync(*THREE_OF_EACH, used(CALLS, "03-02", "1"))
    assert site.records() == [
        (CALLS, FIRST, "11.5"),
        (CALLS, SECOND, "1"),
        (PEAK, FIRST, "5"),
        (SEATS, FIRST, "2.5"),
    ]
    assert (report.applied, report.exit_code) == ({"usage.create": 4}, 0)
    writes = site.writes()
    again = site.sync(*THREE_OF_EACH, used(CALLS, "03-02", "1"), name="again.csv")
    assert (again.applied, again.unchanged, again.exit_code, site.writes()) == ({}, 4, 0, writes)


def test_what_is_recorded_is_what_the_renewal_bills(site: Metered) -> None:
    site.sync(*THREE_OF_EACH, used(CALLS, "03-02", "1"), used(SEATS, "03-05", "9"), used(PEAK, "03-05", "4"))
    site.sandbox.world.advance_to(epoch(2026, 4, 1))
    with site.sandbox.world.lock:
        drafts = site.sandbox.world.chargebee.invoices.find("subscription_id", "sub-a")
        lines = [line for draft in drafts if draft["status"] == "pending" for line in draft["line_items"]]
    # 12.5 calls, the last 9 seats, a peak of 5, at 7 each
    assert {line["entity_id"]: line["amount"] for line in lines if line["metered"]} == {CALLS: 88, SEATS: 63, PEAK: 35}


def test_a_late_row_replaces_the_record(site: Metered) -> None:
    site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-01", "4"))
    report = site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-01", "4"), used(CALLS, "03-01", "3"))
    assert report.applied == {"usage.create": 1, "usage_removal.delete": 1}
    assert site.records() == [(CALLS, FIRST, "12")]
    assert site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-01", "4"), used(CALLS, "03-01", "3")).applied == {}


def test_a_file_with_only_the_late_row_is_told_and_changes_nothing(site: Metered) -> None:
    site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-01", "4"), used(CALLS, "03-02", "8"))
    path = site.folder / "late.csv"
    path.write_text("id,sub,price,at,used\nlate,sub-a,calls-EUR-Monthly,2026-03-01T11:00:00Z,3\n", encoding="utf-8")
    report = sync_usage.fn(str(site.mapping), [str(path)], to="chargebee")
    assert (codes(report), report.exit_code) == (["MB-USAGE-PART"], 3)
    assert site.records() == [(CALLS, FIRST, "9"), (CALLS, SECOND, "8")]


def test_usage_that_is_never_billed_is_set_aside_with_its_quantity(site: Metered) -> None:
    report = site.sync(used(CALLS, "02-27", "5"), used(CALLS, "03-01", "4"), used(CALLS, "01-01T00:00:00", "1"))
    assert codes(report) == ["MB-USAGE-PERIOD"] * 2
    assert "invoiced already" in report.quarantined[0]["message"]
    assert site.records() == [(CALLS, FIRST, "4")]


def test_the_ended_term_is_open_while_its_invoice_is_pending_and_closed_after(site: Metered) -> None:
    site.sync(used(CALLS, "03-01", "4"))
    site.sandbox.world.advance_to(epoch(2026, 4, 3))
    late = site.sync(used(CALLS, "03-01", "4"), used(CALLS, "03-02", "6"))
    assert (late.applied, late.unchanged, codes(late)) == ({"usage.create": 1}, 1, [])
    with site.sandbox.world.lock:
        drafts = site.sandbox.world.chargebee.invoices.find("subscription_id", "sub-a")
        draft = next(row["id"] for row in drafts if row["status"] == "pending")
    from meterbridge.sandbox import CHARGEBEE_API_KEY

    httpx.post(f"{site.sandbox.chargebee_url}/invoices/{draft}/close", auth=(CHARGEBEE_API_KEY, "")).raise_for_status()
    after = site.sync(used(CALLS, "03-01", "4"), used(CALLS, "03-02", "6"), used(CALLS, "03-02", "1"))
    assert (after.applied, after.unchanged, codes(after)) == ({}, 1, ["MB-USAGE-INVOICED"])
    assert "was invoiced with 6 and is now 7" in after.quarantined[0]["message"]


def test_a_change_after_the_draft_took_the_usage_in_is_told_with_both_quantities(site: Metered) -> None:
    site.sync(used(CALLS, "03-01", "4"))
    site.sandbox.world.advance_to(epoch(2026, 4, 3))
    report = site.sync(used(CALLS, "03-01", "4"), used(CALLS, "03-01", "6"))
    assert sorted(set(codes(report))) == ["MB-DEPENDS", "MB-USAGE-INVOICED"]
    assert site.records() == [(CALLS, FIRST, "4")]
    assert "4 of calls-EUR-Monthly of sub-a" in " ".join(row["message"] for row in report.quarantined)
    assert "is now 10" in " ".join(row["message"] for row in report.quarantined)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(used(CALLS, "03-01", "5", "nobody"), "subscription_unknown", id="unknown-subscription"),
        pytest.param(used("nothing", "03-01", "5"), "item_price_unknown", id="unknown-item-price"),
        pytest.param(used("api-pro-EUR-Monthly", "03-01", "5"), "item_not_metered", id="not-metered"),
        pytest.param(used(CALLS, "03-01", "1e3"), "quantity_inexact", id="exponent"),
        pytest.param(used(CALLS, "03-01", "0.12345678901"), "quantity_inexact", id="eleven-digits"),
        pytest.param(used(CALLS, "03-01", "many"), "number_unreadable", id="no-number"),
        pytest.param(used(CALLS, "03-01", ""), "field_missing", id="no-quantity"),
        pytest.param(used(CALLS, "13-01", "5"), "ts_unreadable", id="no-such-month"),
        pytest.param(used(CALLS, "03-20", "5"), "ts_future", id="in-the-future"),
        pytest.param(("sub-a", CALLS, "2026-03-01 10:00:00 PM", "5"), "ts_unreadable", id="pm-without-a-format"),
        pytest.param(("sub-a", CALLS, "2026-03-01 10:00:00 BST", "5"), "ts_unreadable", id="zone-of-two-meanings"),
        pytest.param(used(CALLS, "03-01", "1_000"), "number_unreadable", id="number-of-a-lenient-cast"),
        pytest.param(used("x" * 101, "03-01", "5"), "meter_too_long", id="item-price-of-101-characters"),
    ],
)
def test_a_row_that_cannot_go_has_its_reason_and_the_others_go(site: Metered, row: Row, reason: str) -> None:
    report = site.sync(used(CALLS, "03-01", "4"), row)
    assert [each["key"][2] for each in report.quarantined] == [reason]
    assert site.records() == [(CALLS, FIRST, "4")]
    with Path(report.rejects).open(encoding="utf-8") as file:
        assert [(each["source_row"], each["reason"]) for each in csv.DictReader(file)] == [("2", reason)]


def test_a_zone_in_the_text_says_on_which_day_a_record_lies(site: Metered) -> None:
    site.sync(("sub-a", CALLS, "2026-03-01 22:00:00 PST", "5"), ("sub-a", CALLS, "2026-03-02 01:00 Asia/Tokyo", "3"))
    assert site.records() == [(CALLS, FIRST, "3"), (CALLS, SECOND, "5")]


def test_fewer_rows_than_expected_make_no_record(site: Metered) -> None:
    with pytest.raises(SetupError, match="has 1 rows, at least 2"):
        site.sync(used(CALLS, "03-01", "5"), expect_rows=2)
    assert site.writes() == 0


def test_an_item_price_that_the_subscription_does_not_have_is_told(site: Metered) -> None:
    world = site.sandbox.world
    with world.lock:
        put_price(world, "other-EUR", "calls", "EUR", 7, unit="month")
    assert [each["key"][2] for each in site.sync(used("other-EUR", "03-01", "5")).quarantined] == ["item_absent"]


def test_quantities_that_chargebee_cannot_hold_are_set_aside(site: Metered) -> None:
    report = site.sync(used(CALLS, "03-01", "0.5"), used(SEATS, "03-01", "0"), used(PEAK, "03-01", "-3"))
    assert codes(report) == ["MB-USAGE-QUANTITY"] * 3
    assert site.records() == []


def test_two_subscriptions_at_one_second_have_a_record_each(site: Metered) -> None:
    site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-01", "6", "sub-b"))
    assert site.records() == [(CALLS, FIRST, "5"), (CALLS, FIRST, "6")]


def test_a_record_of_somebody_else_at_our_second_is_not_touched(site: Metered) -> None:
    world = site.sandbox.world
    from meterbridge.sandbox import CHARGEBEE_API_KEY

    sent = {"item_price_id": CALLS, "quantity": "99", "usage_date": str(FIRST)}
    url = f"{site.sandbox.chargebee_url}/subscriptions/sub-a/usages"
    httpx.post(url, data=sent, auth=(CHARGEBEE_API_KEY, "")).raise_for_status()
    report = site.sync(used(CALLS, "03-01", "5"), used(CALLS, "03-02", "6"))
    assert (codes(report), report.applied) == (["MB-USAGE-CLASH"], {"usage.create": 1})
    assert site.records() == [(CALLS, FIRST, "99"), (CALLS, SECOND, "6")]
    assert world.chargebee.usages_made["sub-a"] == 2


def test_without_its_ledger_a_run_adopts_what_it_sent(site: Metered, tmp_path: Path) -> None:
    rows = (used(CALLS, "03-01", "5"), used(CALLS, "03-02", "6"))
    site.sync(*rows)
    before = site.records()
    for path in tmp_path.rglob("ledger.sqlite*"):
        path.unlink()
    site.sandbox.world.advance(3_600)  # Chargebee has forgotten our keys
    report = site.sync(*rows)
    assert (report.applied, codes(report), site.records()) == ({}, [], before)
    assert site.sync(*rows).unchanged == 2


def test_without_its_ledger_a_run_adopts_a_record_that_replaced_another(site: Metered, tmp_path: Path) -> None:
    rows = [used(CALLS, "03-01", "5")]
    for late in ("4", "3"):  # two replacements: what stands is the third record of its second
        site.sync(*rows)
        rows.append(used(CALLS, "03-01", late))
    site.sync(*rows)
    for path in tmp_path.rglob("ledger.sqlite*"):
        path.unlink()
    site.sandbox.world.advance(3_600)
    report = site.sync(*rows)
    assert (report.applied, codes(report), site.records()) == ({}, [], [(CALLS, FIRST, "12")])
    assert site.sync(*rows).unchanged == 1
    report = site.sync(*rows, used(CALLS, "03-01", "8"))
    assert report.applied == {"usage.create": 1, "usage_removal.delete": 1}
    assert site.records() == [(CALLS, FIRST, "20")]


def test_a_preview_shows_the_records_and_sends_none(site: Metered) -> None:
    report = site.sync(*THREE_OF_EACH, preview=2)
    assert [(one["item_price_id"], one["quantity"]) for one in map(json.loads, report.preview)] == [
        (CALLS, "11.5"),
        (PEAK, "5"),
    ]
    assert (report.dry_run, site.writes()) == (True, 0)


def test_strict_sends_nothing_when_a_row_is_rejected(site: Metered) -> None:
    with pytest.raises(SetupError, match="1 of 2 measurements are rejected"):
        site.sync(used(CALLS, "03-01", "5"), used("nothing", "03-01", "5"), strict=True)
    assert site.records() == []


def test_a_mapping_without_a_word_about_chargebee_is_refused(site: Metered) -> None:
    text = "name: m\nts: at\nkey: [id]\naccount: sub\nmeters: [{meter: a, measure: {n: used}}]\n"
    site.mapping.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match="does not say what --to chargebee shall send"):
        site.sync(used(CALLS, "03-01", "5"))


BEFORE = [used(CALLS, "03-01", "5"), used(SEATS, "03-01", "2")]
LIFE = [BEFORE, [*BEFORE, used(CALLS, "03-01", "1")]]
"""A day's rows, then a late one: two records made, one taken away, one made anew."""

WRITES = [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4))]


@pytest.mark.parametrize("harm", ["commit_then_drop", "drop_before", "error_after_commit", "status_429", "html_503"])
@pytest.mark.parametrize("number", WRITES)
def test_harmed_at_any_write_the_next_run_ends_as_if_unharmed(site: Metered, harm: str, number: int) -> None:
    match = {"method": "POST", "path": "usage", "nth": number}
    site.sandbox.world.faults.add([{"harm": harm, "match": match}])
    for rows in LIFE:
        for _ in range(3):
            try:
                site.sync(*rows)
            except MeterbridgeError:
                continue
            break
    assert site.records() == [(CALLS, FIRST, "6"), (SEATS, FIRST, "2")]
    assert site.sync(*LIFE[1]).unchanged == 2


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", WRITES)
def test_killed_at_any_write_the_next_run_ends_as_if_unharmed(
    site: Metered, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    monkeypatch.setenv("METERBRIDGE_LEASE_SECONDS", "5")
    seen = 0
    send = httpx.HTTPTransport.handle_request

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal seen
        if request.method == "POST" and "usage" in request.url.path:
            seen += 1
            if seen == number:
                if when == "after":
                    send(self, request).read()
                raise Killed
        return send(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", handle)
        for rows in LIFE:
            try:
                site.sync(*rows)
            except Killed:
                site.sync(*rows)
    assert seen >= number
    assert site.records() == [(CALLS, FIRST, "6"), (SEATS, FIRST, "2")]
    assert site.sync(*LIFE[1]).unchanged == 2
