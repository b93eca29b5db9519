"""Who may send what, and when somebody else may take over."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from meterbridge.ledger import intents
from meterbridge.ledger.ledger import Ledger
from tests.ledger.desk import after, claim, latest, names, outcome, record, send, stale, states, wish

GONE = -1.0
"""A lease of this many seconds has run out when it begins: a test need not wait."""


def test_claimed_rows_are_leased_and_not_handed_out_again(ledger: Ledger) -> None:
    record(ledger, [wish(name) for name in ("a", "b", "c")])
    assert names(claim(ledger, "one", limit=2)) == ["a", "b"]
    assert names(claim(ledger, "two")) == ["c"]
    assert claim(ledger, "one") == []
    row = latest(ledger, "a")
    assert (row.state, row.lease_owner) == ("ready", "one")
    assert row.lease_until is not None
    assert row.lease_until == pytest.approx(ledger.now() + 60, abs=5)


def test_a_claim_takes_only_what_it_asks_for(ledger: Ledger) -> None:
    record(ledger, [wish("a"), wish("b", kind="charge", scope="invoice:1"), wish("c", kind="charge")], "run-1")
    record(ledger, [wish("d", kind="charge", scope="invoice:1")], "run-2")
    assert claim(ledger, kinds=("external_mapping",)) == []
    assert names(claim(ledger, kinds=("charge",), scopes=["invoice:1"], change_set="set of run-2")) == ["d"]
    assert names(claim(ledger, kinds=("charge",), scopes=["invoice:1"])) == ["b"]
    assert names(claim(ledger)) == ["a", "c"]


@pytest.mark.parametrize("before", ["ready", "leased", "sending", "unknown", "refused", "proposed"])
def test_a_row_waits_until_what_it_depends_on_is_applied(ledger: Ledger, before: str) -> None:
    record(ledger, [wish("acme")], proposed=before == "proposed")
    record(ledger, [wish("sub-1", kind="account_plan", depends_on=after("acme"))])
    if before not in ("ready", "proposed"):
        (acme,) = claim(ledger, kinds=("account",))
        if before != "leased":
            send(ledger, acme)
        if before == "unknown":
            outcome(ledger, "unknown", acme, "run-1", "lost")
        if before == "refused":
            outcome(ledger, "refused", acme, "run-1", "MB-REFUSED", "no")
    assert claim(ledger, kinds=("account_plan",)) == []


def test_a_row_goes_once_what_it_depends_on_is_done_or_was_never_intended(ledger: Ledger) -> None:
    record(
        ledger,
        [
            wish("acme"),
            wish("sub-1", kind="account_plan", depends_on=after("acme")),
            wish("sub-2", kind="account_plan", depends_on=after("known-for-long")),
        ],
    )
    assert names(claim(ledger, kinds=("account_plan",))) == ["sub-2"]
    (acme,) = claim(ledger, kinds=("account",))
    outcome(ledger, "applied", acme, "run-1", {}, mapping=None)
    assert names(claim(ledger, kinds=("account_plan",))) == ["sub-1"]


def test_an_old_refusal_does_not_hold_what_a_later_success_allows(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (first,) = claim(ledger)
    outcome(ledger, "refused", first, "run-1", "MB-REFUSED", "no")
    record(ledger, [wish("acme"), wish("sub-1", kind="account_plan", depends_on=after("acme"))], "run-2")
    (second,) = claim(ledger, kinds=("account",))
    outcome(ledger, "applied", second, "run-1", {}, mapping=None)
    assert names(claim(ledger, kinds=("account_plan",))) == ["sub-1"]


def test_an_exclusive_claim_takes_the_first_row_of_each_scope(ledger: Ledger) -> None:
    record(ledger, [wish(name, scope=scope) for name, scope in (("a1", "A"), ("a2", "A"), ("b1", "B"), ("a3", "A"))])
    assert names(claim(ledger, "one", exclusive_scope=True)) == ["a1", "b1"]
    assert claim(ledger, "two", exclusive_scope=True) == []


@pytest.mark.parametrize("in_hand", ["leased", "sending", "unknown"])
def test_an_exclusive_claim_leaves_a_scope_with_a_write_in_flight_alone(ledger: Ledger, in_hand: str) -> None:
    record(ledger, [wish("a1", scope="A"), wish("a2", scope="A")])
    (first,) = claim(ledger, limit=1)
    if in_hand != "leased":
        send(ledger, first)
    if in_hand == "unknown":
        outcome(ledger, "unknown", first, "run-1", "lost")
    assert claim(ledger, "two", exclusive_scope=True) == []
    if in_hand == "sending":
        outcome(ledger, "applied", first, "run-1", {}, mapping=None)
        assert names(claim(ledger, "two", exclusive_scope=True)) == ["a2"]


def test_a_row_that_waits_does_not_hold_up_the_others_of_its_scope(ledger: Ledger) -> None:
    record(ledger, [wish("owner")])
    (owner,) = claim(ledger)
    outcome(ledger, "refused", owner, "run-1", "MB-REFUSED", "no")
    record(ledger, [wish("a1", scope="A", depends_on=after("owner")), wish("a2", scope="A")], "run-2")
    assert names(claim(ledger, exclusive_scope=True)) == ["a2"]


def test_a_lease_that_ran_out_before_sending_lets_others_claim_and_bars_the_first_owner(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger, "frozen", lease_seconds=GONE)
    assert not send(ledger, row, "frozen")
    assert names(claim(ledger, "other")) == ["acme"]
    assert not send(ledger, row, "frozen")
    assert send(ledger, row, "other")


def test_a_row_in_sending_is_taken_over_when_its_lease_ran_out_and_the_zombie_is_not_heard(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger, "zombie")
    assert send(ledger, row, "zombie")
    assert stale(ledger, "heir") == []

    with ledger.write() as tx:
        assert intents.renew(tx, [row.id], "zombie", GONE) == {row.id}
        tx.commit()
    (taken,) = stale(ledger, "heir")

    assert (taken.id, taken.state, taken.lease_owner) == (row.id, "unknown", "heir")
    assert (taken.request, taken.baseline) == ("POST /accounts", {"line_ids": ["li-1"]})
    assert not outcome(ledger, "applied", row, "zombie", {"remote_id": "late"}, mapping=None)
    assert not outcome(ledger, "refused", row, "zombie", "MB-REFUSED", "late")
    assert not outcome(ledger, "unknown", row, "zombie", "late")
    assert not outcome(ledger, "unsent", row, "zombie")
    assert not outcome(ledger, "release", row, "zombie")
    assert states(ledger, "acme") == ["unknown"]
    assert outcome(ledger, "applied", row, "heir", {"remote_id": "a-1"}, mapping=None)
    assert latest(ledger, "acme").outcome == {"remote_id": "a-1"}


def test_an_unknown_outcome_may_be_probed_by_anybody_at_once(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    outcome(ledger, "unknown", row, "run-1", "the answer was lost")
    assert claim(ledger, "two") == []
    (taken,) = stale(ledger, "two")
    assert (taken.state, taken.error_code, taken.error_message) == (
        "unknown",
        "MB-OUTCOME-UNKNOWN",
        "the answer was lost",
    )
    assert stale(ledger, "three") == []


def test_takeover_stays_within_its_kinds_scopes_and_limit(ledger: Ledger) -> None:
    record(ledger, [wish("a", scope="A"), wish("b", scope="B"), wish("c", kind="charge", scope="A")])
    for row in claim(ledger):
        send(ledger, row)
        outcome(ledger, "unknown", row, "run-1", "lost")
    assert names(stale(ledger, "two", kinds=("charge",))) == ["c"]
    assert names(stale(ledger, "two", scopes=["B"])) == ["b"]
    assert names(stale(ledger, "two", limit=1)) == ["a"]


def test_renewing_tells_which_leases_are_still_ours(ledger: Ledger) -> None:
    record(ledger, [wish(name) for name in ("kept", "lost", "done")])
    kept, lost, done = claim(ledger, "one", lease_seconds=GONE)
    outcome(ledger, "applied", done, "one", {}, mapping=None)
    with ledger.write() as tx:
        assert intents.renew(tx, [kept.id], "one", 60) == {kept.id}
        tx.commit()
    assert names(claim(ledger, "two")) == ["lost"]
    with ledger.write() as tx:
        assert intents.renew(tx, [kept.id, lost.id, done.id], "one", 60) == {kept.id}
        tx.commit()


def test_a_superseded_row_in_a_claim_is_not_sent(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger, "slow")
    record(ledger, [wish("acme", fingerprint="fp-2")], "run-2")
    assert not send(ledger, row, "slow")
    assert states(ledger, "acme") == ["superseded", "ready"]


def test_a_row_set_free_while_another_claims_its_scope_waits_for_that_claim(ledger: Ledger) -> None:
    """The first of a scope waits for its owner; as the second is being claimed, the owner gets done."""
    record(ledger, [wish("owner"), wish("a1", scope="A", depends_on=after("owner")), wish("a2", scope="A")])
    (owner,) = claim(ledger, "one", limit=1)
    late: list[list[str]] = []

    def finish_the_owner_and_claim() -> None:
        outcome(ledger, "applied", owner, "one", {}, mapping=None)
        late.append(names(claim(ledger, "late", exclusive_scope=True)))

    other = threading.Thread(target=finish_the_owner_and_claim)
    with ledger.write() as tx:
        assert names(intents.claim(tx, "early", kinds=("account",), limit=9, exclusive_scope=True)) == ["a2"]
        other.start()
        other.join(timeout=0.5)
        tx.commit()
    other.join()
    assert late == [[]]


def test_a_claim_looks_its_neighbours_up_by_scope_and_key(tmp_path: Path) -> None:
    """Any other way to find them reads every intent there is for every candidate: a backlog would never end."""
    ledger = Ledger.open(None, home=tmp_path, connection="default")
    claims: list[tuple[str, Any]] = []

    def remember(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "picked" in statement:
            claims.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", remember)
    try:
        claim(ledger, exclusive_scope=True, scopes=["A"], change_set="x")
    finally:
        event.remove(Engine, "before_cursor_execute", remember)
        ledger.close()
    ((statement, parameters),) = claims
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        steps = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    names = {"beside", "needed", "needed_intent", "later"}
    beside = [step for step in steps if step.split()[0] in ("SEARCH", "SCAN") and step.split()[1] in names]
    for step in beside:
        assert any(
            way in step
            for way in (
                "intents_open_by_scope (connection=? AND scope=?",
                "intents_generation (connection=? AND kind=? AND natural_key=?",
                "sqlite_autoindex_intent_dependencies_1 (connection=? AND intent_id=?",
            )
        ), step
    assert len(beside) >= 6
