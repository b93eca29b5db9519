"""The inbox: every event once, tries counted, bodies that are no event kept in outline."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from meterbridge.ledger import engine, inbox, malformed
from meterbridge.ledger.ledger import Ledger


def event(number: int, source: str = "chargebee") -> inbox.Event:
    return inbox.Event(source, f"ev-{number}", "subscription_changed", "subscription", f"sub-{number}", 5.0, 7)


def put(ledger: Ledger, *events: inbox.Event) -> list[inbox.InboxRow]:
    with ledger.write() as tx:
        inbox.put_all(tx, events)
        tx.commit()
    with ledger.read() as rx:
        return inbox.pending(rx)


def test_many_events_are_kept_at_once_and_copies_are_dropped(ledger: Ledger) -> None:
    rows = put(ledger, event(1), event(2), event(1))
    assert [row.event for row in rows] == [event(1), event(2)]
    with ledger.write() as tx:
        inbox.done(tx, [rows[0].id])
        tx.commit()
    assert [row.event for row in put(ledger, event(1), event(3))] == [event(2), event(3)]


def test_pending_can_be_one_vendors_alone(ledger: Ledger) -> None:
    put(ledger, event(1), event(2, "m3ter"))
    with ledger.read() as rx:
        assert [row.event.event_id for row in inbox.pending(rx, source="m3ter")] == ["ev-2"]


def test_a_failed_event_waits_for_its_next_try_and_counts_its_tries(ledger: Ledger) -> None:
    first, _ = put(ledger, event(1), event(2))
    with ledger.write() as tx:
        inbox.failed(tx, first, "refused", wait=60)
        tx.commit()
    with ledger.read() as rx:
        assert [row.event.event_id for row in inbox.pending(rx, due_only=True)] == ["ev-2"]
        assert [(row.event.event_id, row.attempts) for row in inbox.pending(rx)] == [("ev-1", 1), ("ev-2", 0)]
    with ledger.write() as tx:
        inbox.failed(tx, first, "refused", wait=-1)
        tx.commit()
    with ledger.read() as rx:
        assert [row.event.event_id for row in inbox.pending(rx, due_only=True)] == ["ev-1", "ev-2"]


def test_the_backlog_counts_what_waits_and_says_since_when(ledger: Ledger) -> None:
    with ledger.read() as rx:
        assert inbox.backlog(rx) == inbox.Backlog(0, None)
    put(ledger, event(1), event(2))
    with ledger.read() as rx:
        found = inbox.backlog(rx)
    assert found.waiting == 2
    assert found.oldest is not None
    assert 0 <= ledger.now() - found.oldest < 60


def test_only_old_events_that_are_done_are_forgotten(ledger: Ledger) -> None:
    rows = put(ledger, event(1), event(2))
    with ledger.write() as tx:
        inbox.done(tx, [rows[0].id])
        assert inbox.forget(tx, 0.0) == 0
        assert inbox.forget(tx, 9e12) == 1
        tx.commit()
    with ledger.read() as rx:
        assert [row.event for row in inbox.pending(rx)] == [event(2)]


def test_a_malformed_body_is_kept_once_and_counted(ledger: Ledger) -> None:
    body = malformed.Malformed("chargebee", "d1", "not JSON", "text", 12)
    for _ in range(3):
        with ledger.write() as tx:
            assert malformed.put(tx, body)
            tx.commit()
    with ledger.read() as rx:
        (row,) = malformed.all(rx)
    assert (row.body, row.times) == (body, 3)
    assert row.first_seen <= row.last_seen


def test_malformed_bodies_cannot_fill_the_ledger(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for number in range(malformed.MOST_KEPT):
            assert malformed.put(tx, malformed.Malformed("chargebee", f"d{number}", "not JSON", "text", 1))
        assert not malformed.put(tx, malformed.Malformed("chargebee", "one more", "not JSON", "text", 1))
        assert malformed.put(tx, malformed.Malformed("chargebee", "d0", "not JSON", "text", 1))
        tx.commit()


def test_events_survive_the_migration_that_gave_the_inbox_its_tries(ledger_url: str, tmp_path: Path) -> None:
    engines = engine.connect(engine.parse_url(ledger_url, tmp_path))
    _upgrade(engines, "0001")
    before = "insert into inbox (connection, source, event_id, event_type, resource, resource_id, received_at) "
    with engines.writer.begin() as database:
        database.execute(text(before + "values ('default', 'chargebee', 'ev-old', 'changed', 'subscription', 's', 1)"))
    engines.dispose()
    ledger = Ledger.open(ledger_url, home=tmp_path, connection="default")
    with ledger.read() as rx:
        (row,) = inbox.pending(rx)
    ledger.close()
    assert row.event == inbox.Event("chargebee", "ev-old", "changed", "subscription", "s")


def _upgrade(engines: engine.Engines, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
    with engines.writer.begin() as database:
        config.attributes["connection"] = database
        command.upgrade(config, revision)
