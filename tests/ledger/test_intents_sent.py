"""From ``sending`` to an outcome: what is stored, what is kept for life, what a failure may set back."""

from __future__ import annotations

import pytest

from meterbridge.ledger import intents, mappings
from meterbridge.ledger.ledger import Ledger
from tests.ledger.desk import claim, latest, names, outcome, record, send, stale, states, wish


def test_the_exact_request_and_what_stood_before_are_there_before_the_request_leaves(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    body = '{"amount":1234567890123456789,"text":"ü — \\u0000"}'
    with ledger.write() as tx:
        assert intents.mark_sending(tx, row.id, "run-1", body, {"line_ids": ["li-1"], "signatures": {"x": 2}}, at=7.5)
        tx.commit()
    sent = latest(ledger, "acme")
    assert (sent.state, sent.request, sent.attempts) == ("sending", body, 1)
    assert sent.baseline == {"line_ids": ["li-1"], "signatures": {"x": 2}}
    assert (sent.first_sent_at, sent.attempt_started_at) == (7.5, 7.5)


def test_without_a_clock_of_the_senders_the_databases_counts(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    assert latest(ledger, "acme").first_sent_at == pytest.approx(ledger.now(), abs=5)


def test_a_row_is_marked_once_only(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    assert send(ledger, row, request="first")
    assert not send(ledger, row, request="second")
    assert latest(ledger, "acme").request == "first"


def test_a_batch_marks_only_rows_whose_lease_is_alive_and_ours(ledger: Ledger) -> None:
    record(ledger, [wish(name) for name in ("a", "c", "b")])
    (a,) = claim(ledger, "me", limit=1)
    (c,) = claim(ledger, "other", limit=1)
    (b,) = claim(ledger, "me", limit=1, lease_seconds=-1)
    with ledger.write() as tx:
        marked = intents.mark_sending_many(tx, {c.id: "C", b.id: "B", a.id: "A"}, "me", at=3.0)
        tx.commit()
    assert marked == [a.id]
    assert (latest(ledger, "a").state, latest(ledger, "a").request) == ("sending", "A")
    assert (latest(ledger, "b").state, latest(ledger, "c").state) == ("ready", "ready")


def test_an_applied_row_stores_its_mapping_in_the_same_transaction(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    known = mappings.Mapping("account", ("acme",), "a-1", "fp-1", "acme", {"currency": "EUR"}, run_id="run-1")

    with ledger.write() as tx:
        assert intents.applied(tx, row.id, "run-1", {"remote_id": "a-1"}, mapping=known)
    assert states(ledger, "acme") == ["sending"]
    with ledger.read() as rx:
        assert mappings.get(rx, "account", ("acme",)) is None

    assert outcome(ledger, "applied", row, "run-1", {"remote_id": "a-1"}, mapping=known)
    done = latest(ledger, "acme")
    assert (done.state, done.outcome, done.lease_owner, done.lease_until) == (
        "applied",
        {"remote_id": "a-1"},
        None,
        None,
    )
    with ledger.read() as rx:
        assert mappings.get(rx, "account", ("acme",)) == known
    assert not outcome(ledger, "applied", row, "run-1", {"remote_id": "a-2"}, mapping=None)


def test_what_is_already_true_is_applied_without_being_sent(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    assert outcome(ledger, "applied", row, "run-1", {"remote_id": "a-1"}, mapping=None)
    assert latest(ledger, "acme").attempts == 0


def test_a_batch_of_outcomes_leaves_out_what_somebody_else_took(ledger: Ledger) -> None:
    record(ledger, [wish("a"), wish("b")])
    a, b = claim(ledger, "me", lease_seconds=-1)
    (taken,) = claim(ledger, "other", limit=1)
    assert taken.id == a.id
    lost = mappings.Mapping("account", ("a",), "a-1", "fp-1", "a", {})
    kept = mappings.Mapping("account", ("b",), "b-1", "fp-1", "b", {})
    with ledger.write() as tx:
        done = intents.apply_many(
            tx, "me", [intents.Applied(a.id, {"n": 1}, lost), intents.Applied(b.id, {"n": 2}, kept)]
        )
        tx.commit()
    assert done == [b.id]
    assert (states(ledger, "a"), states(ledger, "b")) == (["ready"], ["applied"])
    with ledger.read() as rx:
        assert mappings.get(rx, "account", ("a",)) is None
        assert mappings.get(rx, "account", ("b",)) == kept


def test_a_refusal_says_why(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    assert outcome(ledger, "refused", row, "run-1", "MB-REFUSED", "currency is fixed")
    done = latest(ledger, "acme")
    assert (done.state, done.error_code, done.error_message) == ("refused", "MB-REFUSED", "currency is fixed")


def test_a_proved_absence_starts_a_new_attempt_under_the_same_key_and_request(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    with ledger.write() as tx:
        intents.mark_sending(tx, row.id, "run-1", "POST /accounts", {}, at=100.0)
        tx.commit()
    outcome(ledger, "unknown", row, "run-1", "lost")
    stale(ledger, "run-2")
    assert not outcome(ledger, "reattempt", row, "run-1", at=200.0)
    assert outcome(ledger, "reattempt", row, "run-2", at=200.0)
    again = latest(ledger, "acme")
    assert (again.state, again.attempts, again.generation) == ("sending", 2, 1)
    assert (again.first_sent_at, again.attempt_started_at) == (100.0, 200.0)
    assert (again.request, again.idempotency_key) == ("POST /accounts", row.idempotency_key)


def test_a_new_attempt_may_carry_the_request_as_it_has_to_be_now(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row, request="PUT version 1")
    assert outcome(ledger, "reattempt", row, request="PUT version 2")
    assert latest(ledger, "acme").request == "PUT version 2"


def test_a_row_never_sent_cannot_be_attempted_again(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    assert not outcome(ledger, "reattempt", row)


def test_releasing_an_unsent_row_lets_others_claim_it(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger, "one")
    assert outcome(ledger, "release", row, "one")
    assert names(claim(ledger, "two")) == ["acme"]


def test_releasing_a_row_in_sending_leaves_it_to_be_probed(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger, "one")
    send(ledger, row, "one")
    assert outcome(ledger, "release", row, "one")
    assert claim(ledger, "two") == []
    (taken,) = stale(ledger, "two")
    assert (taken.state, taken.request) == ("unknown", "POST /accounts")


def test_a_first_attempt_that_never_left_makes_the_row_ready_again(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    assert outcome(ledger, "unsent", row)
    again = latest(ledger, "acme")
    assert (again.state, again.attempts, again.request, again.baseline) == ("ready", 0, None, {})
    assert (again.first_sent_at, again.attempt_started_at, again.lease_owner) == (None, None, None)
    assert names(claim(ledger, "two")) == ["acme"]


def test_a_later_attempt_that_never_left_does_not_hide_the_earlier_one(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    with ledger.write() as tx:
        intents.mark_sending(tx, row.id, "run-1", "POST /accounts", {}, at=100.0)
        intents.reattempt(tx, row.id, "run-1", at=200.0)
        tx.commit()
    assert outcome(ledger, "unsent", row)
    again = latest(ledger, "acme")
    assert (again.state, again.attempts, again.request) == ("unknown", 1, "POST /accounts")
    assert (again.first_sent_at, again.attempt_started_at) == (100.0, 100.0)


def test_a_claimed_row_that_is_no_longer_wanted_is_closed_unsent(ledger: Ledger) -> None:
    record(ledger, [wish("acme"), wish("beta")])
    acme, beta = claim(ledger)
    send(ledger, beta)
    assert outcome(ledger, "supersede", acme)
    assert not outcome(ledger, "supersede", beta)
    assert (states(ledger, "acme"), states(ledger, "beta")) == (["superseded"], ["sending"])


@pytest.mark.parametrize("value", [0.1, float("nan")])
def test_no_float_enters_a_payload_or_a_mapping(ledger: Ledger, value: float) -> None:
    with pytest.raises(TypeError, match="no exact text for float"):
        record(ledger, [wish("acme", payload={"amount": value})])
    with pytest.raises(TypeError, match="no exact text for float"), ledger.write() as tx:
        mappings.put(tx, mappings.Mapping("charge", ("a",), "li-1", "fp", "b", {"amount": value}))


@pytest.mark.parametrize("owner", ["heir", "run-1"])
def test_who_took_a_row_over_cannot_say_that_it_never_left(ledger: Ledger, owner: str) -> None:
    """Its resend was throttled, but the send before it may have landed: under a new key it would be a second write."""
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    outcome(ledger, "release", row)
    (taken,) = stale(ledger, owner)
    assert taken.state == "unknown"

    assert not outcome(ledger, "unsent", taken, owner)

    record(ledger, [wish("acme", fingerprint="fp-2")], "run-2")
    after_all = latest(ledger, "acme")
    assert (after_all.state, after_all.generation, after_all.request) == ("unknown", 1, "POST /accounts")
