"""The small families: what they keep, refuse and hand out again."""

from __future__ import annotations

import time

import pytest

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger import allowances, approvals, bills, facts, inbox, mappings, quarantine, runs, usage, watermarks
from meterbridge.ledger.ledger import Ledger, moment
from meterbridge.rules.records import Quarantined


def test_a_fact_is_replaced(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert facts.get(tx, "bills_since") is None
        facts.put(tx, "bills_since", "2026-01-01")
        facts.put(tx, "bills_since", "2026-02-01")
        assert facts.get(tx, "bills_since") == "2026-02-01"


def test_runs_come_back_newest_first(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for number, flow in enumerate(("sync_bills", "sync_subscriptions", "sync_bills")):
            runs.open_run(tx, runs.RunRow(f"run-{number}", flow, 100.0 + number, {"ids": ["ü"]}, f"/s/{number}"))
        runs.close_run(tx, "run-0", "completed", {"applied": 3}, "hash")
        tx.commit()
    with ledger.read() as rx:
        assert [run.run_id for run in runs.recent(rx)] == ["run-2", "run-1", "run-0"]
        assert [run.run_id for run in runs.recent(rx, "sync_bills", 1)] == ["run-2"]
        closed = runs.get(rx, "run-0")
        assert closed is not None
        assert (closed.state, closed.counts, closed.change_set) == ("completed", {"applied": 3}, "hash")
        assert closed.ended_at == pytest.approx(time.time(), abs=5)
        still_open = runs.get(rx, "run-1")
        assert still_open == runs.RunRow("run-1", "sync_subscriptions", 101.0, {"ids": ["ü"]}, "/s/1")
        assert runs.get(rx, "run-9") is None


def test_a_run_that_was_never_opened_cannot_be_closed(ledger: Ledger) -> None:
    with pytest.raises(BrokenInvariant, match="never opened"), ledger.write() as tx:
        runs.close_run(tx, "run-9", "completed", None, None)


def test_a_watermark_goes_forward(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert watermarks.get(tx, "subscriptions") is None
        for position in (100.0, 100.0, 1_767_225_600.123456):
            watermarks.advance(tx, "subscriptions", position, "scope-1", f"run-{position}")
        tx.commit()
    with ledger.read() as rx:
        mark = watermarks.get(rx, "subscriptions")
    assert mark is not None
    assert (mark.position, mark.fingerprint, mark.run_id) == (
        1_767_225_600.123456,
        "scope-1",
        "run-1767225600.123456",
    )


def test_a_watermark_goes_back_only_with_another_scope(ledger: Ledger) -> None:
    with ledger.write() as tx:
        watermarks.advance(tx, "subscriptions", 100.0, "scope-1", "run-1")
        tx.commit()
    with pytest.raises(BrokenInvariant, match=r"go back from 100\.0 to 99\.9"), ledger.write() as tx:
        watermarks.advance(tx, "subscriptions", 99.9, "scope-1", "run-2")
    with ledger.write() as tx:
        watermarks.advance(tx, "subscriptions", 50.0, "scope-2", "run-3")
        tx.commit()
    with ledger.read() as rx:
        mark = watermarks.get(rx, "subscriptions")
    assert mark is not None
    assert (mark.position, mark.run_id) == (50.0, "run-3")


def _account(name: str, **rest: object) -> mappings.Mapping:
    values: dict[str, object] = {
        "kind": "account",
        "key": (name,),
        "remote_id": f"a-{name}",
        "fingerprint": "fp",
        "scope": name,
        "state": {"currency": "EUR"},
    }
    return mappings.Mapping(**{**values, **rest})  # type: ignore[arg-type]


def test_a_mapping_is_found_from_every_side_and_replaced(ledger: Ledger) -> None:
    charge = mappings.Mapping(
        kind="charge",
        key=("bill-1", "sub-1", '["USAGE","api"]'),
        remote_id="li-1",
        fingerprint="fp",
        scope="bill-1",
        state={"invoice_id": "draft-1", "amount": 4124, "currency": "EUR"},
        source_version=3,
        run_id="run-1",
    )
    with ledger.write() as tx:
        mappings.put(tx, charge, _account("acmé / söhne"))
        mappings.put(tx, _account("acmé / söhne", fingerprint="fp-2"))
        tx.commit()
    with ledger.read() as rx:
        assert mappings.get(rx, "charge", charge.key) == charge
        assert mappings.get(rx, "account", charge.key) is None
        assert mappings.by_remote(rx, "charge", "li-1") == charge
        assert mappings.by_remote(rx, "charge", "li-2") is None
        assert mappings.by_scope(rx, "charge", "bill-1") == [charge]
        assert mappings.by_state(rx, "charge", "invoice_id", "draft-1") == [charge]
        assert mappings.by_state(rx, "charge", "invoice_id", "draft-2") == []
        assert mappings.by_state(rx, "charge", "currency", "EUR") == [charge]
        assert list(mappings.all(rx, "account")) == [_account("acmé / söhne", fingerprint="fp-2")]


def test_an_inactive_mapping_is_history_and_gives_way_to_an_active_one(ledger: Ledger) -> None:
    with ledger.write() as tx:
        mappings.put(tx, _account("old", remote_id="a-1"), _account("new", remote_id="a-1"))
        assert mappings.deactivate(tx, "account", ("old",))
        assert not mappings.deactivate(tx, "account", ("never",))
        tx.commit()
    with ledger.read() as rx:
        assert [row.key for row in mappings.all(rx, "account", active_only=True)] == [("new",)]
        wanted = [("account", ("old",)), ("account", ("new",)), ("charge", ("new",)), ("account", ("never",))]
        assert mappings.remote_ids(rx, wanted) == {("account", ("new",)): "a-1"}
        assert [(row.key, row.active) for row in mappings.all(rx, "account")] == [(("new",), True), (("old",), False)]
        found = mappings.by_remote(rx, "account", "a-1")
    assert found is not None
    assert found.key == ("new",)


def test_a_deleted_mapping_is_gone(ledger: Ledger) -> None:
    with ledger.write() as tx:
        mappings.put(tx, _account("acme"))
        assert mappings.delete(tx, "account", ("acme",))
        assert not mappings.delete(tx, "account", ("acme",))
        assert mappings.get(tx, "account", ("acme",)) is None


def test_only_a_name_is_looked_for_in_a_mappings_state(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="not a field name"), ledger.read() as rx:
        mappings.by_state(rx, "charge", "x' OR '1'='1", "y")


def _aside(code: str = "MB-NO-INVOICE", amount: int | None = 4124, version: int | None = 1) -> Quarantined:
    return Quarantined("charge", ("bill-1", "sub-1"), code, f"because {code}", amount, "EUR", version)


def _put(ledger: Ledger, aside: Quarantined, run_id: str = "run-1") -> quarantine.QuarantineRow:
    with ledger.write() as tx:
        quarantine.put(tx, "sync_bills", aside, run_id)
        tx.commit()
    with ledger.read() as rx:
        row = quarantine.get(rx, aside.kind, aside.key)
    assert row is not None
    return row


def test_a_record_seen_again_keeps_its_number_and_its_first_day(ledger: Ledger) -> None:
    first = _put(ledger, _aside())
    time.sleep(0.01)
    again = _put(ledger, _aside("MB-BILL-LINE", 5), "run-2")
    assert (again.id, again.first_seen) == (first.id, first.first_seen)
    assert again.last_seen > first.last_seen
    assert (again.code, again.amount, again.run_id, again.state) == ("MB-BILL-LINE", 5, "run-2", "open")
    with ledger.read() as rx:
        assert quarantine.by_id(rx, first.id) == again
        assert quarantine.by_id(rx, first.id + 1) is None
        assert quarantine.by_id(rx, 10**30) is None


@pytest.mark.parametrize("sign", ["\0", "\ud800"], ids=repr)
def test_what_a_database_cannot_hold_is_marked_and_fails_no_run(ledger: Ledger, sign: str) -> None:
    """A NUL in an account's code, out of a usage file, ended the run on PostgreSQL."""
    key = ("calls", "u.csv", f"a{sign}b")
    row = _put(ledger, Quarantined("usage", key, "MB-USAGE-ACCOUNT", f"no account a{sign}b, Zoë 🧮"))
    assert row.message == "no account a\ufffdb, Zoë 🧮"
    with ledger.write() as tx:
        assert quarantine.clear(tx, "usage", key)
        tx.commit()
    with ledger.read() as rx:
        assert quarantine.list(rx, "open") == []


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        pytest.param(_aside(), "dismissed", id="same"),
        pytest.param(_aside("MB-BILL-LINE"), "open", id="other-code"),
        pytest.param(_aside(amount=4125), "open", id="other-amount"),
        pytest.param(_aside(amount=None), "open", id="no-amount-any-more"),
        pytest.param(_aside(version=2), "open", id="other-version"),
    ],
)
def test_a_dismissed_record_stays_closed_while_it_is_the_same(ledger: Ledger, seen: Quarantined, state: str) -> None:
    _put(ledger, _aside())
    with ledger.write() as tx:
        assert quarantine.dismiss(tx, "charge", ("bill-1", "sub-1"), "ann", "charged by hand")
        tx.commit()
    row = _put(ledger, seen, "run-2")
    assert row.state == state
    assert (row.closed_by, row.note) == (("ann", "charged by hand") if state == "dismissed" else (None, None))


def test_a_dismissed_record_without_amount_and_version_stays_closed_too(ledger: Ledger) -> None:
    _put(ledger, _aside(amount=None, version=None))
    with ledger.write() as tx:
        quarantine.dismiss(tx, "charge", ("bill-1", "sub-1"), "ann", "no matter")
        tx.commit()
    assert _put(ledger, _aside(amount=None, version=None)).state == "dismissed"


def test_a_retried_record_is_decided_again_and_then_clear_or_open(ledger: Ledger) -> None:
    row = _put(ledger, _aside())
    with ledger.write() as tx:
        assert quarantine.retry(tx, row.kind, row.key)
        assert [(found.id, found.state) for found in quarantine.to_decide(tx)] == [(row.id, "retry")]
        assert quarantine.list(tx, "open") == []
        assert [found.id for found in quarantine.list(tx)] == [row.id]
        tx.commit()
    assert _put(ledger, _aside(), "run-2").state == "open"
    with ledger.write() as tx:
        assert quarantine.retry(tx, row.kind, row.key)
        assert quarantine.clear(tx, row.kind, row.key)
        assert not quarantine.clear(tx, row.kind, row.key)
        assert quarantine.to_decide(tx) == []
        assert [found.id for found in quarantine.list(tx, "cleared")] == [row.id]
        assert not quarantine.retry(tx, row.kind, row.key)
        assert not quarantine.dismiss(tx, row.kind, row.key, "ann", "late")


def test_trouble_that_comes_back_after_it_was_cleared_has_a_new_first_day(ledger: Ledger) -> None:
    first = _put(ledger, _aside())
    with ledger.write() as tx:
        quarantine.clear(tx, first.kind, first.key)
        tx.commit()
    time.sleep(0.01)
    again = _put(ledger, _aside())
    assert (again.id, again.state) == (first.id, "open")
    assert again.first_seen > first.first_seen


def test_an_event_is_taken_once_and_done_once(ledger: Ledger) -> None:
    first = inbox.Event("chargebee", "ev-1", "subscription_changed", "subscription", "sub-1", 5.0)
    with ledger.write() as tx:
        assert inbox.put(tx, first)
        assert not inbox.put(tx, first)
        assert inbox.put(tx, inbox.Event("m3ter", "ev-1", "bill_approved", "bill", "b-1"))
        tx.commit()
    with ledger.write() as tx:
        rows = inbox.pending(tx)
        assert [row.event.source for row in rows] == ["chargebee", "m3ter"]
        assert rows[0].event == first
        assert inbox.pending(tx, limit=1) == rows[:1]
        assert inbox.done(tx, [rows[0].id]) == 1
        assert inbox.done(tx, [rows[0].id]) == 0
        assert inbox.pending(tx) == rows[1:]
        assert not inbox.put(tx, first)


def test_the_first_approval_of_a_change_set_stays(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert approvals.get(tx, "hash") is None
        assert approvals.put(tx, "hash", "sync_bills", "ann", "looks right")
        assert not approvals.put(tx, "hash", "sync_bills", "bob")
        found = approvals.get(tx, "hash")
    assert found is not None
    assert (found.flow, found.approved_by, found.note) == ("sync_bills", "ann", "looks right")


def test_a_batch_keeps_what_became_of_it_when_it_is_recorded_again(ledger: Ledger) -> None:
    batches = [usage.UsageBatch("m", f"hash-{number}", "input", number, 1_000, "run-1") for number in (1, 2)]
    with ledger.write() as tx:
        usage.record_batches(tx, batches)
        assert usage.mark_sent(tx, "m", "hash-1", job_id="job-1")
        assert usage.mark_failed(tx, "m", "hash-2")
        assert not usage.mark_sent(tx, "m", "hash-9")
        usage.record_batches(tx, batches)
        usage.record_batches(tx, [])
        found = usage.batches(tx, "m", "input")
    assert [(batch.batch_hash, batch.state, batch.job_id) for batch in found] == [
        ("hash-1", "sent", "job-1"),
        ("hash-2", "failed", None),
    ]


def test_a_bill_is_stored_as_it_was_and_replaced(ledger: Ledger) -> None:
    bill = bills.BillState(
        "b-1", 3, "2026-04-01T00:00:00Z", None, "APPROVED", True, "2026-04-01", "a-1", "EUR", "1234567890123.123456789"
    )
    other = bills.BillState("b-0", 1, None, "x", "PENDING", False, "2026-05-01", "a-1", "JPY", None, True, True)
    with ledger.write() as tx:
        bills.put(tx, other, bill)
        bills.put(tx, bill)
        tx.commit()
    with ledger.read() as rx:
        assert bills.get(rx, "b-1") == bill
        assert bills.get(rx, "b-9") is None
        assert bills.all(rx) == [bill, other]


def test_waiting_money_keeps_its_age_until_it_changes_state(ledger: Ledger) -> None:
    def put(state: bills.PortionState, since: float | None) -> float | None:
        with ledger.write() as tx:
            bills.put_portion(tx, bills.Portion("b-1", "s-1", "EUR", 4124, state, "no draft", since, None, 900.0))
            tx.commit()
        with ledger.read() as rx:
            found = bills.get_portion(rx, "b-1", "s-1")
        assert found is not None
        assert (found.wanted, found.state, found.until) == (4124, state, 900.0)
        return found.since

    assert put("waiting", 100.0) == 100.0
    assert put("waiting", 200.0) == 100.0
    assert put("waiting", None) == 100.0
    assert put("quarantined", 300.0) == 300.0
    assert put("waiting", 400.0) == 400.0
    assert put("sent", None) == pytest.approx(time.time(), abs=5)


def test_portions_are_listed_by_bill_by_state_and_by_age(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for bill, subscription, state, since in (
            ("b-2", "s-1", "waiting", 5.0),
            ("b-1", "s-2", "waiting", 9.0),
            ("b-1", "s-1", "sent", 1.0),
        ):
            bills.put_portion(tx, bills.Portion(bill, subscription, "EUR", -3, state, "", since))  # type: ignore[arg-type]
        tx.commit()
    with ledger.write() as tx:
        assert [(p.bill_id, p.subscription_id) for p in bills.portions(tx)] == [
            ("b-1", "s-1"),
            ("b-1", "s-2"),
            ("b-2", "s-1"),
        ]
        assert [p.subscription_id for p in bills.portions(tx, bill_id="b-1")] == ["s-1", "s-2"]
        assert [p.since for p in bills.waiting(tx)] == [5.0, 9.0]
        assert bills.delete_portion(tx, "b-1", "s-2")
        assert not bills.delete_portion(tx, "b-1", "s-2")
        assert bills.get_portion(tx, "b-1", "s-2") is None


def test_slots_follow_one_another_and_idle_time_is_not_saved_up(ledger: Ledger) -> None:
    with ledger.write() as tx:
        now = ledger.now()
        first = allowances.lease(tx, "chargebee", 10, 2.0)
        assert first == pytest.approx(now, abs=1)
        assert allowances.lease(tx, "chargebee", 4, 2.0) == pytest.approx(first + 5.0, abs=1e-6)
        assert allowances.lease(tx, "chargebee", 1, 2.0) == pytest.approx(first + 7.0, abs=1e-6)
        assert allowances.lease(tx, "m3ter", 1, 50.0) == pytest.approx(now, abs=1)
        assert allowances.lease(tx, "m3ter", 1, 1_000.0) == pytest.approx(now, abs=1)
    time.sleep(0.05)
    with ledger.write() as tx:
        early = allowances.lease(tx, "x", 1, 100.0)
        tx.commit()
    time.sleep(0.2)
    with ledger.write() as tx:
        assert allowances.lease(tx, "x", 1, 100.0) > early + 0.15


def test_a_hold_moves_everybody_and_never_back(ledger: Ledger) -> None:
    with ledger.write() as tx:
        now = moment(tx)
        allowances.hold(tx, "chargebee", now + 100.5)
        allowances.hold(tx, "chargebee", now + 50.0)
        assert allowances.lease(tx, "chargebee", 1, 2.0) == pytest.approx(now + 100.5, abs=1e-3)


@pytest.mark.parametrize(("tokens", "rate"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_a_lease_of_nothing_is_our_bug(ledger: Ledger, tokens: int, rate: float) -> None:
    with pytest.raises(ValueError, match="at least one token"), ledger.write() as tx:
        allowances.lease(tx, "chargebee", tokens, rate)
