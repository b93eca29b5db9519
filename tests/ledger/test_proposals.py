"""Proposed change sets: who is a member, what an approval makes ready, and what it does not."""

from __future__ import annotations

from meterbridge.ledger import approvals, intents, proposals
from meterbridge.ledger.ledger import Ledger
from tests.ledger.conftest import OpenLedger
from tests.ledger.desk import after, claim, latest, names, record, states, wish


def approve(ledger: Ledger, change_set: str) -> int:
    with ledger.write() as tx:
        done = intents.approve(tx, [row.id for row in proposals.current(tx, change_set)], change_set)
        tx.commit()
    return done


def awaiting(ledger: Ledger) -> list[tuple[str, str, str]]:
    with ledger.read() as rx:
        return [(one.intent.key[0], one.change_set, one.run_id) for one in proposals.awaiting(rx)]


def test_only_what_is_named_is_proposed_and_the_rest_may_be_sent(ledger: Ledger) -> None:
    record(ledger, [wish("free"), wish("gated")], proposed={"gated"})
    assert awaiting(ledger) == [("gated", "set of run-1", "run-1")]
    assert names(claim(ledger)) == ["free"]


def test_an_earlier_set_is_approved_for_what_a_later_run_left_as_it_was(ledger: Ledger) -> None:
    """The schedule goes on proposing while a person reads; what he approves is what he read."""
    record(ledger, [wish("same"), wish("changed")], "run-1", proposed=True)
    record(ledger, [wish("same"), wish("changed", fingerprint="fp-2"), wish("new")], "run-2", proposed=True)

    assert approve(ledger, "set of run-1") == 1

    assert names(claim(ledger)) == ["same"]
    assert states(ledger, "changed") == ["superseded", "proposed"]
    assert awaiting(ledger) == [("changed", "set of run-2", "run-2"), ("new", "set of run-2", "run-2")]
    assert approve(ledger, "set of run-1") == 0
    assert approve(ledger, "set of run-2") == 2


def test_what_builds_on_a_row_that_changed_is_not_approved_without_it(ledger: Ledger) -> None:
    plan = wish("plan", kind="account_plan", depends_on=after("acme"))
    record(ledger, [wish("acme"), plan], "run-1", proposed=True)
    record(ledger, [wish("acme", fingerprint="fp-2"), plan], "run-2", proposed=True)
    assert approve(ledger, "set of run-1") == 0
    assert approve(ledger, "set of run-2") == 2


def test_what_follows_waits_again_along_with_what_it_builds_on(ledger: Ledger) -> None:
    plan = wish("plan", kind="account_plan", depends_on=after("acme"))
    record(ledger, [wish("acme"), plan], "run-1", proposed=True)
    approve(ledger, "set of run-1")
    record(ledger, [wish("acme", fingerprint="fp-2"), plan], "run-2", proposed=True)
    assert latest(ledger, "plan", "account_plan").state == "proposed"
    assert approve(ledger, "set of run-2") == 2


def test_a_row_proposed_again_counts_under_its_newest_set(ledger: Ledger) -> None:
    record(ledger, [wish("acme")], "run-1", proposed=True)
    record(ledger, [wish("acme"), wish("beta")], "run-2", proposed=True)
    assert awaiting(ledger) == [("acme", "set of run-2", "run-2"), ("beta", "set of run-2", "run-2")]


def test_what_was_approved_and_is_the_same_is_not_asked_for_again(ledger: Ledger) -> None:
    record(ledger, [wish("acme")], "run-1", proposed=True)
    approve(ledger, "set of run-1")
    record(ledger, [wish("acme")], "run-2", proposed=True)
    assert (awaiting(ledger), states(ledger, "acme")) == ([], ["ready"])
    assert latest(ledger, "acme").approval == "set of run-1"


def test_members_are_remembered_whatever_became_of_them(ledger: Ledger) -> None:
    record(ledger, [wish("acme")], "run-1", proposed=True)
    record(ledger, [], "run-2", kinds=("account",), keys_decided=[("acme",)])
    with ledger.read() as rx:
        assert [row.state for row in proposals.members(rx, "set of run-1")] == ["superseded"]
        assert proposals.members(rx, "set of run-9") == []


def test_only_what_is_old_and_proposed_no_more_is_forgotten(ledger: Ledger, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    record(ledger, [wish("still"), wish("gone")], "run-1", proposed=True)
    record(ledger, [wish("still")], "run-2", proposed=True, kinds=("account",), keys_decided=[("gone",)])
    for days, forgotten in ((90, 0), (-1, 1)):
        monkeypatch.setattr(proposals, "KEPT_DAYS", days)
        with ledger.write() as tx:
            assert proposals.prune(tx) == forgotten
            tx.commit()
    assert awaiting(ledger) == [("still", "set of run-2", "run-2")]


def test_a_set_that_is_proposed_once_more_is_approved_anew(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert approvals.put_again(tx, "hash", "sync_bills", "ann") == "hash"
        assert approvals.put_again(tx, "hash", "sync_bills", "bob", "after undo") == "hash/2"
        tx.commit()
    with ledger.read() as rx:
        assert [(one.change_set, one.approved_by) for one in approvals.of(rx, "hash")] == [
            ("hash", "ann"),
            ("hash/2", "bob"),
        ]
        assert approvals.of(rx, "has") == []


def test_another_connection_neither_sees_nor_approves_it(open_ledger: OpenLedger) -> None:
    ours, theirs = open_ledger("default"), open_ledger("other")
    record(ours, [wish("acme")], proposed=True)
    assert (awaiting(theirs), approve(theirs, "set of run-1")) == ([], 0)
    assert approve(ours, "set of run-1") == 1
