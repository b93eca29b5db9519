"""Events in the inbox become the same syncs, of what they name alone; what fails is tried again, then set aside."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from connectors.chargebee import webhooks
from flows.drain_inbox import drain_inbox
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge import sandbox as imitation
from meterbridge.errors import BrokenInvariant, MeterbridgeError
from meterbridge.ledger import inbox, mappings, quarantine, watermarks
from meterbridge.ledger.ledger import Ledger
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.conftest import OpenSandbox


def ledger_at(home: Path) -> Ledger:
    return Ledger.open(None, home=home, connection="default")


def tell(home: Path, *events: inbox.Event) -> None:
    ledger = ledger_at(home)
    with ledger.write() as tx:
        inbox.put_all(tx, events)
        tx.commit()
    ledger.close()


def event(
    number: int, resource: str, name: str, *, version: int | None = None, source: str = "chargebee"
) -> inbox.Event:
    return inbox.Event(source, f"ev-{number}", f"{resource}_changed", resource, name, None, version)


def waiting(home: Path) -> list[str]:
    ledger = ledger_at(home)
    with ledger.read() as rx:
        found = [row.event.event_id for row in inbox.pending(rx)]
    ledger.close()
    return found


def chargebee(sandbox: Sandbox) -> httpx.Client:
    return httpx.Client(base_url=sandbox.chargebee_url, auth=(imitation.CHARGEBEE_API_KEY, ""))


def cancel(sandbox: Sandbox, subscription: str) -> None:
    with chargebee(sandbox) as http:
        http.post(f"/subscriptions/{subscription}/cancel_for_items").raise_for_status()


def plans(sandbox: Sandbox) -> list[bool]:
    return ["endDate" in row for row in sandbox.world.m3ter.account_plans.rows()]


def test_an_event_ends_the_account_plan_of_its_subscription(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    assert plans(sandbox) == [False]
    cancel(sandbox, "sub-single")
    tell(tmp_path, event(1, "subscription", "sub-single"))
    report = drain_inbox.fn()
    assert report is not None
    assert report.applied == {"account_plan.update": 1}
    assert plans(sandbox) == [True]
    assert waiting(tmp_path) == []


def test_an_incomplete_record_of_a_batch_stops_no_other(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("large", subscriptions=2)
    sync_subscriptions.fn()
    broken, whole = (row["id"] for row in sandbox.world.chargebee.subscriptions.rows())
    cancel(sandbox, whole)
    lost = {"harm": "lose_field", "match": {"path": f"/subscriptions/{broken}$"}, "field": "customer_id", "times": -1}
    sandbox.world.faults.add([lost])
    told = [event(number, "subscription", name, version=1) for number, name in enumerate((broken, whole))]
    tell(tmp_path, *told)
    report = drain_inbox.fn()
    assert report is not None
    assert [row["code"] for row in report.quarantined] == ["MB-RECORD"]
    assert report.applied["account_plan.update"] >= 1
    assert waiting(tmp_path) == []


def test_a_drain_moves_no_watermark(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    open_sandbox("single")
    sync_subscriptions.fn()
    ledger = ledger_at(tmp_path)
    with ledger.read() as rx:
        before = watermarks.get(rx, "sync_subscriptions")
    tell(tmp_path, event(1, "subscription", "sub-single"))
    drain_inbox.fn()
    with ledger.read() as rx:
        assert watermarks.get(rx, "sync_subscriptions") == before
    ledger.close()


def test_an_event_is_read_again_even_while_lists_lag(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    sandbox.world.switches.list_lag_seconds = 300
    cancel(sandbox, "sub-single")
    tell(tmp_path, event(1, "subscription", "sub-single"))
    drain_inbox.fn()
    assert plans(sandbox) == [True]


def test_many_events_are_read_by_lists_and_what_those_have_late_by_id(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    sandbox = open_sandbox("demo")
    sync_subscriptions.fn()
    with sandbox.world.lock:
        rows = list(sandbox.world.chargebee.subscriptions.rows())
    living = next(row["id"] for row in rows if row["status"] == "active")
    sandbox.world.switches.list_lag_seconds = 300
    cancel(sandbox, living)
    version = (sandbox.world.chargebee.subscriptions.get(living) or {})["resource_version"]
    hints = [event(n, "subscription", row["id"], version=row["resource_version"]) for n, row in enumerate(rows)]
    assert len(hints) > 10
    tell(tmp_path, *hints, event(999, "subscription", living, version=version))
    sandbox.world.log.clear()
    drain_inbox.fn()
    reads = [
        entry.path for entry in sandbox.world.log if "/subscriptions" in entry.path and entry.vendor == "chargebee"
    ]
    assert [path.rpartition("/")[2] for path in reads if path != "/api/v2/subscriptions"] == [living]
    ended = [row for row in sandbox.world.m3ter.account_plans.rows() if living in row.get("code", "")]
    assert ended
    assert all("endDate" in row for row in ended)


def test_a_renamed_customer_is_an_event_too(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    with chargebee(sandbox) as http:
        http.post("/customers/cust-single", data={"company": "Twofold Ltd"}).raise_for_status()
    tell(tmp_path, event(1, "customer", "cust-single"))
    drain_inbox.fn()
    assert [row["name"] for row in sandbox.world.m3ter.accounts.rows()] == ["Twofold Ltd"]


def test_what_chargebee_never_had_is_no_trouble(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    tell(
        tmp_path,
        event(1, "subscription", "nobody's"),
        event(2, "subscription", "sub-single"),
        event(3, "customer", "x"),
    )
    drain_inbox.fn()
    assert plans(sandbox) == [False]
    assert waiting(tmp_path) == []


def test_events_that_concern_nothing_are_closed_without_a_request(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    tell(tmp_path, event(1, "sample", ""), event(2, "nothing", ""))
    assert drain_inbox.fn() is None
    assert waiting(tmp_path) == []
    assert sandbox.world.log == []


def test_an_empty_inbox_opens_no_run(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    assert drain_inbox.fn() is None
    assert sandbox.world.log == []


def test_a_vendor_that_is_down_leaves_events_where_they_are(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    tell(tmp_path, event(1, "subscription", "sub-single"))
    sandbox.world.faults.add([{"harm": "status_429", "match": {"vendor": "chargebee"}, "times": -1, "retry_after": 0}])
    with pytest.raises(MeterbridgeError):
        drain_inbox.fn()
    ledger = ledger_at(tmp_path)
    with ledger.read() as rx:
        assert [(row.event.event_id, row.attempts) for row in inbox.pending(rx, due_only=True)] == [("ev-1", 0)]
    ledger.close()


def overdue(home: Path) -> None:
    """Let the waiting time of failed events be over."""
    ledger = ledger_at(home)
    with ledger.write() as tx:
        inbox.later(tx, [row.id for row in inbox.pending(tx)], wait=-1)
        tx.commit()
    ledger.close()


def test_an_event_that_cannot_pass_is_found_and_the_others_pass(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    # No address can be made of this id, so its run always fails.
    tell(tmp_path, event(1, "subscription", "sub-single"), event(2, "subscription", "."))
    for _ in range(10):
        with suppress(BrokenInvariant):
            drain_inbox.fn()
        overdue(tmp_path)
    assert waiting(tmp_path) == []
    assert plans(sandbox) == [False]
    ledger = ledger_at(tmp_path)
    with ledger.read() as rx:
        (aside,) = quarantine.list(rx)
    ledger.close()
    assert (aside.kind, aside.key, aside.code) == ("account_plan", (".",), "MB-EVENT")
    assert "ev-2" in aside.message


def test_an_approved_bill_is_charged_alone_when_its_notification_comes(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    sandbox = open_sandbox("single", METERBRIDGE_BILL_SETTLE_HOURS="0")
    put_customer(sandbox.world, "cust-other", "Other Ltd", "EUR")
    seed = SubscriptionSeed("sub-other", "cust-other", ("api-pro-EUR-Monthly",), epoch(2026, 1, 1))
    put_subscription(sandbox.world, seed)
    sync_subscriptions.fn(full=True)
    use_and_bill(sandbox.world)
    sync_bills.fn(dry_run=True)
    bills = {row["accountCode"]: row["id"] for row in sandbox.world.m3ter.bills.rows() if row["status"] == "APPROVED"}
    assert sorted(bills) == ["cust-other", "cust-single"]
    tell(tmp_path, event(1, "bill", bills["cust-single"], source="m3ter"))
    assert drain_inbox.fn("chargebee") is None
    report = drain_inbox.fn("m3ter")
    assert report is not None
    assert report.applied["charge.create"] >= 1
    ledger = ledger_at(tmp_path)
    with ledger.read() as rx:
        charged = {row.key[0] for row in mappings.all(rx, "charge", active_only=True)}
    ledger.close()
    assert charged == {bills["cust-single"]}
    assert sync_bills.fn().applied["charge.create"] >= 1  # the other one's, at its time
    assert sync_bills.fn().writes == 0


def sized(sandbox: Sandbox, quantity: int) -> tuple[int, inbox.Event]:
    """An hour later the subscription has another quantity; when that was, and the event that tells of it."""
    world = sandbox.world
    world.advance(3_600)
    item = {"subscription_items[item_price_id][0]": "api-pro-EUR-Monthly", "subscription_items[quantity][0]": quantity}
    with chargebee(sandbox) as http:
        http.post("/subscriptions/sub-single/update_for_items", data=item).raise_for_status()
    (told,) = world.chargebee.events.find("event_type", "subscription_changed")[-1:]
    hint = webhooks.parse(json.dumps(told).encode())
    return told["occurred_at"], inbox.Event("chargebee", **asdict(hint))


def begins(sandbox: Sandbox) -> list[int]:
    rows = sandbox.world.m3ter.account_plans.rows()
    return sorted(int(datetime.fromisoformat(row["startDate"]).timestamp()) for row in rows)


def asked_for_events(sandbox: Sandbox) -> int:
    return sum("/events" in one.path for one in sandbox.world.log)


def test_changes_that_nobody_drained_in_time_count_from_their_own_instants(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    sandbox.world.log.clear()
    first, told = sized(sandbox, 2)
    tell(tmp_path, told)
    drain_inbox.fn()
    assert asked_for_events(sandbox) == 1  # whether an older change was not told of; the event itself is not read
    second, told = sized(sandbox, 3)
    third, late = sized(sandbox, 4)
    tell(tmp_path, told)
    drain_inbox.fn()
    assert begins(sandbox)[1:] == [first, second, third]
    tell(tmp_path, late)
    report = drain_inbox.fn()
    assert report is not None
    assert (report.writes, asked_for_events(sandbox)) == (0, 2)  # there is nothing left to find
    overtaken, late = sized(sandbox, 7)
    overtaking, told = sized(sandbox, 8)
    tell(tmp_path, told)
    drain_inbox.fn()
    assert begins(sandbox)[4:] == [overtaken, overtaking]
    tell(tmp_path, late)  # days later, or never
    report = drain_inbox.fn()
    assert report is not None
    assert report.writes == 0
    fourth, _ = sized(sandbox, 5)
    fifth, _ = sized(sandbox, 6)
    sync_subscriptions.fn(ids=["sub-single"])
    assert begins(sandbox)[6:] == [fourth, fifth]
