"""What a change set becomes in the ledger, and what it takes back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger import intents
from meterbridge.ledger.ledger import Ledger, Writer
from meterbridge.ledger.schema import intent_dependencies
from meterbridge.ledger.schema import intents as table
from meterbridge.rules.records import Ref
from tests.ledger.desk import after, claim, keys, latest, names, outcome, record, send, states, wish


def test_an_intent_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    plan = wish(
        "sub-1",
        kind="account_plan",
        key=("sub-1", "api-EUR", "1"),
        payload={"accountId": Ref("account", ("acmé & söhne",)), "planId": "p-1"},
        depends_on=(Ref("account", ("acmé & söhne",)),),
        state={"terms": "t-1", "replaces": [["sub-1", "api-EUR", "0"]]},
        warnings=("tiers start anew",),
        amount=9_007_199_254_740_993,
        currency="EUR",
        source_version=1_767_225_600_123,
    )
    record(ledger, [plan])

    with ledger.read() as rx:
        row = intents.by_key(rx, "account_plan", ("sub-1", "api-EUR", "1"))

    assert row is not None
    assert (row.state, row.generation, row.attempts, row.run_id) == ("ready", 1, 0, "run-1")
    assert row.payload == {"accountId": {"$ref": ["account", "acmé & söhne"]}, "planId": "p-1"}
    assert row.wanted == {"terms": "t-1", "replaces": [["sub-1", "api-EUR", "0"]]}
    assert row.depends_on == (Ref("account", ("acmé & söhne",)),)
    assert row.warnings == ("tiers start anew",)
    assert (row.amount, row.currency, row.source_version) == (9_007_199_254_740_993, "EUR", 1_767_225_600_123)
    assert row.idempotency_key.startswith("meterbridge-")
    assert (row.request, row.baseline, row.outcome, row.lease_owner) == (None, {}, {}, None)


def test_ids_follow_the_order_of_the_change_set(ledger: Ledger) -> None:
    wanted = [wish(f"c{number}") for number in (3, 1, 2)] + [wish(f"d{number}") for number in range(1_200)]
    assert record(ledger, wanted).inserted == 1_203
    with ledger.read() as rx:
        assert names(intents.open_rows(rx))[:4] == ["c3", "c1", "c2", "d0"]


def test_the_same_change_set_again_keeps_rows_and_gives_them_to_the_new_run(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    before = latest(ledger, "acme")

    done = record(ledger, [wish("acme")], "run-2")

    row = latest(ledger, "acme")
    assert (done.inserted, done.kept, done.superseded, done.blocked) == (0, 1, 0, 0)
    assert (row.id, row.generation, row.idempotency_key) == (before.id, 1, before.idempotency_key)
    assert (row.run_id, row.change_set) == ("run-2", "set of run-2")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"fingerprint": "fp-2"}, id="fingerprint"),
        pytest.param({"payload": {"code": "acme", "name": "Acme"}}, id="payload"),
        pytest.param({"action": "update"}, id="action"),
        pytest.param({"depends_on": after("owner")}, id="dependencies"),
        pytest.param({"scope": "account:owner"}, id="scope"),
        pytest.param({"state": {"currency": "EUR"}}, id="what-the-ledger-shall-know"),
    ],
)
def test_an_unsent_row_that_is_wanted_otherwise_is_superseded(ledger: Ledger, changed: dict[str, object]) -> None:
    record(ledger, [wish("acme")])
    old = latest(ledger, "acme")

    done = record(ledger, [wish("acme", **changed)], "run-2")

    row = latest(ledger, "acme")
    assert (done.inserted, done.superseded, done.kept) == (1, 1, 0)
    assert states(ledger, "acme") == ["superseded", "ready"]
    assert row.generation == 2
    assert row.idempotency_key != old.idempotency_key


@pytest.mark.parametrize("left", ["sending", "unknown"])
def test_a_row_that_may_have_landed_is_never_superseded(ledger: Ledger, left: str) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    send(ledger, row)
    if left == "unknown":
        outcome(ledger, "unknown", row, "run-1", "the answer was lost")

    done = record(ledger, [wish("acme", fingerprint="fp-2")], "run-2", kinds=("account",), keys_decided=keys("acme"))
    assert (done.inserted, done.superseded, done.kept, done.blocked) == (0, 0, 0, 1)
    assert states(ledger, "acme") == [left]

    record(ledger, [], "run-3", kinds=("account",), keys_decided=keys("acme"))
    assert states(ledger, "acme") == [left]


def test_unsent_rows_that_the_run_no_longer_wants_are_superseded(ledger: Ledger) -> None:
    record(ledger, [wish("gone"), wish("wanted"), wish("not-decided"), wish("gone", kind="charge")])

    done = record(
        ledger, [wish("wanted")], "run-2", kinds=("account",), keys_decided=keys("gone", "wanted", "never-there")
    )

    assert (done.kept, done.superseded) == (1, 1)
    assert states(ledger, "gone") == ["superseded"]
    assert states(ledger, "wanted") == ["ready"]
    assert states(ledger, "not-decided") == ["ready"]
    assert states(ledger, "gone", "charge") == ["ready"]


def test_a_closed_intent_is_followed_by_the_next_generation(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    (row,) = claim(ledger)
    outcome(ledger, "refused", row, "run-1", "MB-REFUSED", "no such currency")
    record(ledger, [wish("acme")], "run-2")
    assert states(ledger, "acme") == ["refused", "ready"]
    assert latest(ledger, "acme").idempotency_key != row.idempotency_key


def test_a_new_ledger_gives_the_same_intent_the_same_idempotency_key(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    # SHA-256 over ["default","acme-test","account",["acme"],1,"fp-1"], worked out with sha256sum.
    assert latest(ledger, "acme").idempotency_key == "meterbridge-829fb42acf4b25a9e1a6356feb3f92b853fd576fd98ce970"


def test_one_change_set_with_two_intents_for_one_thing_is_our_bug(ledger: Ledger) -> None:
    with pytest.raises(BrokenInvariant, match="two intents for account"):
        record(ledger, [wish("acme"), wish("acme", action="update")])
    with ledger.read() as rx:
        assert intents.open_rows(rx) == []


def test_the_database_itself_refuses_a_second_open_intent(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    for state in ("proposed", "ready", "sending", "unknown"):
        with pytest.raises(BrokenInvariant, match=r"(?i)unique"), ledger.write() as tx:
            tx.execute(insert(table).values(_copy_of_acme(tx, generation=2, state=state)))
    with ledger.write() as tx:
        for generation, state in enumerate(("applied", "refused", "superseded", "dismissed"), start=2):
            tx.execute(insert(table).values(_copy_of_acme(tx, generation=generation, state=state)))
        tx.commit()


def test_the_database_itself_refuses_a_generation_twice_and_an_unheard_of_state(ledger: Ledger) -> None:
    record(ledger, [wish("acme")])
    for generation, state in ((1, "applied"), (2, "perhaps")):
        with pytest.raises(BrokenInvariant), ledger.write() as tx:
            tx.execute(insert(table).values(_copy_of_acme(tx, generation=generation, state=state)))


def _copy_of_acme(tx: Writer, **changed: object) -> dict[str, object]:
    row = dict(
        tx.execute(select(table).where(table.c.natural_key == '["acme"]', table.c.generation == 1)).one()._mapping
    )
    del row["id"]
    return {**row, **changed}


def test_proposed_rows_are_claimed_only_once_approved(ledger: Ledger) -> None:
    record(ledger, [wish("acme"), wish("beta")], proposed=True)
    assert claim(ledger) == []

    with ledger.write() as tx:
        assert intents.approve(tx, [row.id for row in intents.open_rows(tx)], "set of run-1") == 2
        assert intents.approve(tx, [row.id for row in intents.open_rows(tx)], "set of run-1") == 0
        tx.commit()

    assert names(claim(ledger)) == ["acme", "beta"]
    assert latest(ledger, "acme").approval == "set of run-1"


def test_the_gate_closes_over_unsent_rows_that_nobody_approved(ledger: Ledger) -> None:
    record(ledger, [wish("never-asked"), wish("approved")], proposed=False)
    record(ledger, [wish("approved", fingerprint="fp-2")], "run-2", proposed=True)
    with ledger.write() as tx:
        intents.approve(tx, [row.id for row in intents.open_rows(tx)], "set of run-2")
        tx.commit()

    record(ledger, [wish("never-asked"), wish("approved", fingerprint="fp-2")], "run-3", proposed=True)

    assert states(ledger, "never-asked") == ["proposed"]
    assert states(ledger, "approved") == ["superseded", "ready"]


def test_a_proposed_row_becomes_ready_when_the_gate_is_lifted(ledger: Ledger) -> None:
    record(ledger, [wish("acme")], proposed=True)
    assert record(ledger, [wish("acme")], "run-2", proposed=False).kept == 1
    assert states(ledger, "acme") == ["ready"]


@pytest.mark.parametrize("state", ["ready", "refused", "sending"])
def test_a_person_can_dismiss_what_did_not_land(ledger: Ledger, state: str) -> None:
    record(ledger, [wish("acme")])
    if state != "ready":
        (row,) = claim(ledger)
        send(ledger, row)
        if state == "refused":
            outcome(ledger, "refused", row, "run-1", "MB-REFUSED", "no")
    with ledger.write() as tx:
        done = intents.dismiss(tx, "account", ("acme",))
        tx.commit()
    assert done == (state != "sending")
    assert states(ledger, "acme") == ["dismissed" if done else "sending"]


def test_rows_are_found_by_run_by_change_set_and_by_refusal(ledger: Ledger) -> None:
    record(ledger, [wish("acme"), wish("beta"), wish("gamma")])
    acme, beta, _ = claim(ledger)
    outcome(ledger, "refused", acme, "run-1", "MB-REFUSED", "no such currency")
    outcome(ledger, "refused", beta, "run-1", "MB-REFUSED", "no such plan")
    record(ledger, [wish("beta", fingerprint="fp-2")], "run-2")

    with ledger.read() as rx:
        assert names(intents.of_run(rx, "run-1")) == ["acme", "beta", "gamma"]
        assert [row.state for row in intents.of_run(rx, "run-1")] == ["refused", "refused", "ready"]
        (row,) = intents.refused_rows(rx, ("account",))
        assert (row.key, row.error_code, row.error_message) == (("acme",), "MB-REFUSED", "no such currency")
        assert intents.refused_rows(rx, ("charge",)) == []
        assert names(intents.open_rows(rx, scope="account:gamma")) == ["gamma"]
        assert names(intents.open_within(rx, "account", "account:g")) == ["gamma"]
        assert intents.open_within(rx, "charge", "account:g") == intents.open_within(rx, "account", "account:_") == []


def test_dependencies_are_stored_with_the_row_that_waits(ledger: Ledger) -> None:
    record(ledger, [wish("acme"), wish("sub-1", kind="account_plan", depends_on=after("acme"))])
    with ledger.read() as rx:
        (row,) = rx.execute(select(intent_dependencies)).all()
    assert (row.intent_id, row.kind, row.natural_key) == (
        latest(ledger, "sub-1", "account_plan").id,
        "account",
        '["acme"]',
    )


def test_what_another_run_wrote_since_the_ledger_was_read_is_left_out(ledger: Ledger) -> None:
    record(ledger, [wish("done before"), wish("open"), wish("open still")])
    for row in claim(ledger):
        assert send(ledger, row)
        if row.key == ("done before",):
            assert outcome(ledger, "applied", row, "run-1", {}, mapping=None)
    with ledger.read() as rx:
        seen = intents.horizon(rx)
    assert outcome(ledger, "applied", latest(ledger, "open"), "run-1", {}, mapping=None)
    record(ledger, [wish("recorded meanwhile")])
    [row] = claim(ledger)
    assert send(ledger, row)
    assert outcome(ledger, "applied", row, "run-1", {}, mapping=None)
    wanted_names = ("done before", "open", "open still", "recorded meanwhile", "new")
    wanted = [wish(name, fingerprint="fp-2") for name in wanted_names]
    done = record(ledger, wanted, "run-2", seen=seen)
    assert done.left_out == [("account", ("open",)), ("account", ("recorded meanwhile",))]
    assert (done.inserted, done.blocked) == (2, 1)
    with ledger.read() as rx:
        assert intents.keys_concluded_beyond(rx, seen, ("account",)) == {("open",), ("recorded meanwhile",)}
        # Ready ones have not left yet: "done before" and "new".
        gone = names(intents.may_have_written(rx, ("account",), seen))
        assert sorted(gone) == ["open", "open still", "recorded meanwhile"]
        assert names(intents.may_have_written(rx, ("account",), None)) == ["open still"]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"code": "acme", "amount": 5}, id="a-field-of-another-kind"),
        pytest.param({"code": 5}, id="a-number-for-a-text"),
    ],
)
def test_a_payload_that_is_not_of_its_kinds_shape_is_never_recorded(ledger: Ledger, payload: dict[str, Any]) -> None:
    with pytest.raises(BrokenInvariant, match=r"holds (amount|code), which its shape does not"):
        record(ledger, [wish("acme"), wish("other", payload=payload)])
    assert states(ledger, "acme") == []
