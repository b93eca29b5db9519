"""The note beside the ledger, where the ledger is, and the runs that it knows."""

import json
import shutil
from pathlib import Path

from meterbridge.ledger import doubts, facts, identity, money_runs
from meterbridge.ledger.note import Note, Noted


def note_down(note, *runs, ledger="l 1", proven=True):
    for run in runs:
        note.append("money", run, ledger, home="h1", proven=proven, change_set="c", writes=2)


def test_a_note_keeps_runs_in_order_and_says_who_the_home_is(tmp_path):
    note = Note(tmp_path, "default")
    assert note.read() == Noted()
    note_down(note, "r1", "r2", "r1")
    assert note.read() == Noted("h1", "l 1", proven=True, runs=("r1", "r2"))
    assert note.path.stat().st_mode & 0o077 == 0


def test_a_line_that_was_cut_off_counts_nothing_and_spoils_nothing(tmp_path):
    note = Note(tmp_path, "default")
    note_down(note, "r1")
    with note.path.open("ab") as file:
        file.write(b'{"kind": "money", "run": "r2", "ho')
    assert note.read().runs == ("r1",)
    note_down(note, "r3")
    assert note.read().runs == ("r1", "r3")


def test_a_copied_note_tells_its_runs_and_no_more(tmp_path):
    note, other = Note(tmp_path / "a", "default"), Note(tmp_path / "b", "default")
    note_down(note, "r1")
    other.path.parent.mkdir(parents=True)
    shutil.copy(note.path, other.path)
    assert other.read() == Noted(runs=("r1",))
    other.append("proven", "r9", "l 1", home="h2", proven=True)
    assert other.read() == Noted("h2", "l 1", proven=True, runs=("r1",))


def test_a_long_note_is_read_from_its_end(tmp_path):
    note = Note(tmp_path, "default")
    note_down(note, "first")
    line = note.path.read_bytes()
    with note.path.open("ab") as file:
        file.write(b"".join(line.replace(b"first", f"r{number}".encode()) for number in range(3_000)))
    assert note.read().runs[-1] == "r2999"
    assert "first" not in note.read().runs
    assert all(json.loads(text)["home"] == "h1" for text in note.path.read_text().splitlines())


def test_the_ledger_knows_runs_by_the_order_in_which_they_began(ledger, open_ledger):
    with ledger.write() as tx:
        for run, home in (("r2", "h1"), ("r1", "h2"), ("r2", "h3")):
            money_runs.put(tx, run, home, "c", 3)
        tx.commit()
    with ledger.read() as rx:
        newest = money_runs.newest(rx)
        assert (newest.run_id, newest.home, newest.writes) == ("r1", "h2", 3)
        assert money_runs.missing(rx, ["r0", "r1", "r9"]) == ["r0", "r9"]
    with open_ledger("eu").read() as rx:
        assert money_runs.missing(rx, ["r1"]) == ["r1"]
        assert money_runs.newest(rx) is None


def test_a_ledger_keeps_its_name_and_another_place_is_another_identity(ledger):
    with ledger.read() as rx:
        assert identity.of(rx, ledger.path) == ""
    with ledger.write() as tx:
        here = identity.settle(tx, ledger.path)
        tx.commit()
    with ledger.write() as tx:
        assert identity.settle(tx, ledger.path) == here
        assert identity.original(tx, ledger.path) is None
        kept = json.loads(facts.get(tx, identity.PLACE))
        facts.put(tx, identity.PLACE, json.dumps([kept[0], kept[1] + "0"]))
        assert identity.original(tx, ledger.path) is None  # in its place, restored: the original is not there


def test_a_copy_of_a_file_knows_its_original_for_as_long_as_that_is_there(tmp_path):
    from meterbridge.ledger.ledger import Ledger

    first = Ledger.open(f"sqlite:///{tmp_path}/one.sqlite3", home=tmp_path, connection="default")
    with first.write() as tx:
        name = identity.settle(tx, first.path).split()[0]
        tx.commit()
    first.close()
    shutil.copy(tmp_path / "one.sqlite3", tmp_path / "two.sqlite3")
    second = Ledger.open(f"sqlite:///{tmp_path}/two.sqlite3", home=tmp_path, connection="default")
    with second.write() as tx:
        assert identity.original(tx, second.path) == str(tmp_path / "one.sqlite3")
        assert identity.settle(tx, second.path).split()[0] == name
        tx.commit()
    for file in Path(tmp_path).glob("one.sqlite3*"):
        file.rename(tmp_path / f"gone-{file.name}")
    with second.write() as tx:
        assert identity.original(tx, second.path) is None
        identity.settle(tx, second.path)
        tx.commit()
    (tmp_path / "gone-one.sqlite3").rename(tmp_path / "one.sqlite3")
    with second.read() as rx:
        assert identity.original(rx, second.path) is None
    second.close()


def test_a_doubt_stays_until_somebody_answers(ledger):
    with ledger.write() as tx:
        doubts.put(tx, ["b2", "b1"], "rebuilt", "r1")
        doubts.put(tx, ["b1"], "again", "r2")
        tx.commit()
    with ledger.read() as rx:
        assert [(one.bill_id, one.why) for one in doubts.all(rx)] == [("b1", "rebuilt"), ("b2", "rebuilt")]
    with ledger.write() as tx:
        assert doubts.clear(tx, ["b1", "b7"]) == 1
        tx.commit()
