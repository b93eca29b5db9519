"""Opening, transactions, read-only readers, connections that do not see each other."""

from __future__ import annotations

import socket
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from meterbridge.errors import BrokenInvariant, RetriableError, SetupError
from meterbridge.ledger import (
    allowances,
    approvals,
    bills,
    connections,
    engine,
    facts,
    inbox,
    intents,
    mappings,
    quarantine,
    runs,
    usage,
    watermarks,
)
from meterbridge.ledger.ledger import Ledger, Reader, moment
from meterbridge.rules.records import Quarantined
from tests.ledger.conftest import OpenLedger
from tests.ledger.desk import claim, record, stale, wish


def test_leaving_without_commit_rolls_back(ledger: Ledger) -> None:
    with ledger.write() as tx:
        facts.put(tx, "bills_since", "2026-01-01")
    with ledger.read() as rx:
        assert facts.get(rx, "bills_since") is None


def test_an_exception_rolls_back(ledger: Ledger) -> None:
    def fail_halfway() -> None:
        with ledger.write() as tx:
            facts.put(tx, "bills_since", "2026-01-01")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    with ledger.read() as rx:
        assert facts.get(rx, "bills_since") is None
    with ledger.write() as tx:
        facts.put(tx, "bills_since", "2026-02-01")
        tx.commit()


def test_a_transaction_is_over_with_its_commit(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.commit()
        with pytest.raises(BrokenInvariant, match="after its commit"):
            facts.put(tx, "late", "x")
        with pytest.raises(BrokenInvariant, match="committed twice"):
            tx.commit()


def test_the_database_refuses_what_a_reader_writes(ledger: Ledger) -> None:
    with pytest.raises(BrokenInvariant, match=r"(?i)read-?\s?only"), ledger.read() as rx:
        rx.execute(text("INSERT INTO facts VALUES ('default', 'x', 'y', 0)"))  # type: ignore[arg-type]
    with ledger.write() as tx:
        facts.put(tx, "x", "z")
        tx.commit()
    assert not hasattr(Reader, "commit")


def test_a_reader_sees_one_state_of_the_ledger_all_along(ledger: Ledger) -> None:
    with ledger.read() as rx:
        assert facts.get(rx, "a") is None
        with ledger.write() as tx:
            facts.put(tx, "a", "1")
            tx.commit()
        assert facts.get(rx, "a") is None
    with ledger.read() as rx:
        assert facts.get(rx, "a") == "1"


def test_a_transaction_that_streamed_can_write_afterwards(ledger: Ledger) -> None:
    record(ledger, [wish("a"), wish("b")])
    with ledger.write() as tx:
        assert len(intents.open_rows(tx)) == 2
        assert [row.key for row in intents.claim(tx, "me", kinds=("account",), limit=1)] == [("a",)]
        tx.commit()


def test_the_time_can_be_asked_for_inside_a_transaction(ledger: Ledger) -> None:
    with ledger.write() as tx:
        allowances.lease(tx, "chargebee", 1, 1.0)
        assert ledger.now() == pytest.approx(time.time(), abs=2)


def test_two_connections_in_one_ledger_never_see_each_other(open_ledger: OpenLedger) -> None:
    ours, theirs = open_ledger("ours"), open_ledger("theirs")
    for ledger, site in ((ours, "acme"), (theirs, "acme-test")):
        record(ledger, [wish("c1", fingerprint=site)])
        with ledger.write() as tx:
            connections.bind(tx, site, "org-1")
            facts.put(tx, "bills_since", site)
            runs.open_run(tx, runs.RunRow("run-1", "sync_bills", 1.0, {"site": site}, "/x"))
            watermarks.advance(tx, "bills", 5.0 if site == "acme" else 3.0, site, "run-1")
            mappings.put(tx, mappings.Mapping("account", ("c1",), f"a-{site}", "fp", "c1", {"invoice_id": "i"}))
            quarantine.put(tx, "sync_bills", Quarantined("charge", ("b1",), "MB-REFUSED", site), "run-1")
            assert inbox.put(tx, inbox.Event("chargebee", "ev-1", "changed", "subscription", site))
            bills.put(tx, bills.BillState("b1", 1, None, None, site, False, "2026-01-01", "a", "EUR", None))
            bills.put_portion(tx, bills.Portion("b1", "s1", "EUR", 1, "waiting", site, 9.0))
            usage.record_batches(tx, [usage.UsageBatch("m", "b", "h", 1, 1, site)])
            assert approvals.put(tx, "hash", "sync_bills", site)
            allowances.hold(tx, "chargebee", moment(tx) + (100 if site == "acme" else 50))
            tx.commit()
    assert len(claim(theirs)) == 1
    with ours.read() as rx:
        assert facts.get(rx, "bills_since") == "acme"
        assert [run.parameters for run in runs.recent(rx)] == [{"site": "acme"}]
        mark = watermarks.get(rx, "bills")
        assert mark is not None
        assert mark.position == 5.0
        assert [m.remote_id for m in mappings.all(rx, "account")] == ["a-acme"]
        assert [m.remote_id for m in mappings.by_state(rx, "account", "invoice_id", "i")] == ["a-acme"]
        assert [row.message for row in quarantine.list(rx)] == ["acme"]
        assert [row.event.resource_id for row in inbox.pending(rx)] == ["acme"]
        assert [state.status for state in bills.all(rx)] == ["acme"]
        assert [portion.reason for portion in bills.waiting(rx)] == ["acme"]
        assert [batch.run_id for batch in usage.batches(rx, "m", "h")] == ["acme"]
        approval = approvals.get(rx, "hash")
        assert approval is not None
        assert approval.approved_by == "acme"
        (row,) = intents.open_rows(rx)
        assert (row.fingerprint, row.lease_owner) == ("acme", None)
    with ours.write() as tx:
        assert allowances.lease(tx, "chargebee", 1, 1.0) == pytest.approx(moment(tx) + 100, abs=20)
    assert stale(ours, "x") == []


def test_a_row_of_another_connection_cannot_be_reached_by_its_number(open_ledger: OpenLedger) -> None:
    ours, theirs = open_ledger("ours"), open_ledger("theirs")
    record(theirs, [wish("c1")])
    (row,) = claim(theirs, "me")
    with ours.write() as tx:
        assert intents.get(tx, row.id) is None
        assert not intents.mark_sending(tx, row.id, "me", "r")
        assert not intents.applied(tx, row.id, "me", {}, mapping=None)
        assert intents.renew(tx, [row.id], "me", 60) == set()


def test_a_connection_is_bound_to_its_pair(open_ledger: OpenLedger) -> None:
    ledger, other = open_ledger(), open_ledger("other")
    for site in ("acme", "acme"):
        with ledger.write() as tx:
            connections.bind(tx, site, "org-1")
            tx.commit()
    for pair in (("acme-test", "org-1"), ("acme", "org-2")):
        with pytest.raises(SetupError, match="is bound to site 'acme'") as refusal, ledger.write() as tx:
            connections.bind(tx, *pair)
        assert refusal.value.code == "MB-BOUND"
    with other.write() as tx:
        connections.bind(tx, "acme-test", "org-2")
        tx.commit()


def test_without_a_url_the_ledger_is_a_private_file_in_its_home(tmp_path: Path) -> None:
    home = tmp_path / "state" / "meterbridge"
    ledger = Ledger.open(None, home=home, connection="default")
    ledger.close()
    file = home / "ledger.sqlite3"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert ledger.url_text == f"sqlite:///{file}"
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    ledger = Ledger.open(None, home=tmp_path, connection="default")
    with ledger.write() as tx:
        assert tx.execute(text("PRAGMA synchronous")).scalar() == 2
        assert tx.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert tx.execute(text("PRAGMA busy_timeout")).scalar() == 30_000
    ledger.close()


@pytest.mark.parametrize(
    ("url", "drawn"),
    [
        pytest.param("postgresql://u:secret@h/db", "postgresql+psycopg://u:***@h/db", id="plain"),
        pytest.param("postgres://u:secret@h/db", "postgresql+psycopg://u:***@h/db", id="old-name"),
        pytest.param("postgresql+psycopg://u@h/db", "postgresql+psycopg://u@h/db", id="named-driver"),
        pytest.param("postgresql://h/db?password=secret", "postgresql+psycopg://h/db?password=hidden", id="in-query"),
        pytest.param("sqlite:///ledger.db", "sqlite:////srv/x/ledger.db", id="relative-to-home"),
        pytest.param("sqlite:////var/ledger.db", "sqlite:////var/ledger.db", id="absolute"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, drawn: str) -> None:
    assert engine.masked(engine.parse_url(url, Path("/srv/x"))) == drawn


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "postgresql+psycopg2://u:secret@h/db", "sqlite://", "sqlite:///:memory:", "secret"]
)
def test_other_databases_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SetupError) as refusal:
        Ledger.open(url, home=tmp_path, connection="default")
    assert refusal.value.code == "MB-SETTING"
    assert "secret" not in str(refusal.value)


def test_a_database_that_is_away_can_be_tried_again_and_keeps_its_password(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://someone:s3cret@127.0.0.1:{taken.getsockname()[1]}/ledger"
        with pytest.raises(RetriableError) as away:
            Ledger.open(url, home=tmp_path, connection="default")
    assert away.value.code == "MB-UNAVAILABLE"
    assert "127.0.0.1" in away.value.message
    assert "s3cret" not in f"{away.value}{away.value.__cause__}"


def test_a_home_that_cannot_be_written_is_a_matter_of_setup(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be written") as refusal:
        Ledger.open(None, home=tmp_path / "file" / "home", connection="default")
    assert refusal.value.code == "MB-SETTING"


def test_a_file_that_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    file.write_text("something else entirely, long enough to be looked at" * 10)
    with pytest.raises(SetupError) as refusal:
        Ledger.open(None, home=tmp_path, connection="default")
    assert refusal.value.code == "MB-SETTING"
    assert file.read_text().startswith("something else")


def test_a_writer_that_waits_too_long_can_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAIT_SECONDS", 0.2)
    first = Ledger.open(None, home=tmp_path, connection="default")
    second = Ledger.open(None, home=tmp_path, connection="default")
    with first.write() as tx:
        facts.put(tx, "a", "1")
        for ledger in (first, second):
            with pytest.raises(RetriableError) as busy, ledger.write():
                pass
            assert busy.value.code == "MB-UNAVAILABLE"
        tx.commit()
    first.close()
    second.close()
