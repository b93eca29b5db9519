"""A world that is restored is the one that was played, and each test's own."""

import sqlite3
from contextlib import closing

from flows.sync_bills import sync_bills
from meterbridge.ledger.note import Note
from meterbridge.sandbox.snapshot import comparable
from tests.flows import snapshots
from tests.flows.billed_month import BilledMonth, charge_it, use_a_month
from tests.flows.conftest import opening


def rows(home, table):
    with closing(sqlite3.connect(home / "ledger.sqlite3")) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


def what_it_ends_in(sandbox):
    """Both vendors after what was scheduled, and two runs' reports, as far as two runs are alike."""
    report = sync_bills.fn()
    with sandbox.world.lock:
        sandbox.world.advance(40 * 86_400)
    later = sync_bills.fn()
    told = [(one.exit_code, one.applied, one.quarantined, one.waiting, one.extracted) for one in (report, later)]
    return comparable(sandbox.world), told


def test_what_was_restored_goes_on_as_what_was_played(tmp_path):
    with opening(tmp_path / "played") as start:
        sandbox = start()
        use_a_month(sandbox.world)
        charge_it(sandbox.world)
        played = what_it_ends_in(sandbox)
    with opening(tmp_path / "restored") as start:
        restored = what_it_ends_in(BilledMonth(start).sandbox)
    assert restored == played


def test_each_has_a_world_and_a_home_of_its_own(tmp_path):
    drafts = []
    for name in ("one", "two"):
        with opening(tmp_path / name) as start:
            month = BilledMonth(start)
            drafts.append((month.ours(), len(rows(tmp_path / name, "mappings")), month.world.clock.now()))
            month.close()
            month.pass_days(40)
            month.charge()
    assert drafts[0] == drafts[1]


def test_ledger_and_note_know_that_they_are_in_their_place(tmp_path):
    with opening(tmp_path) as start:
        month = BilledMonth(start)
        noted = Note(tmp_path, "default").read()
        [place] = [value for _, name, value, _ in rows(tmp_path, "facts") if name == "ledger_place"]
        assert noted.home
        assert noted.proven
        assert noted.ledger.endswith(place)
        assert str(tmp_path) in place
        assert all(str(tmp_path) in str(row) for row in rows(tmp_path, "runs"))
        assert month.charge().notes == []


def test_steps_with_other_arguments_are_other_steps():
    assert snapshots.named(charge_it) != snapshots.named(use_a_month)
