"""The stop switch: what is held is neither claimed nor marked, by anybody; the rest goes on."""

import pytest

from meterbridge.errors import OnHold
from meterbridge.ledger import bills, holds, intents, mappings
from meterbridge.ledger.mappings import Mapping
from tests.ledger.desk import claim, record, send, wish


def hold(ledger, customer="", by="ann"):
    with ledger.write() as tx:
        done = holds.put(tx, customer, by, "looks wrong")
        tx.commit()
    return done


def release(ledger, customer=""):
    with ledger.write() as tx:
        done = holds.release(tx, customer, "bob", "was right")
        tx.commit()
    return done


def in_force(ledger):
    with ledger.read() as rx:
        return [(one.customer_id, one.by, one.note) for one in holds.active(rx)]


def charge(owner, bill="b1", payer=None, **more):
    wanted = {"customer_id": payer} if payer else {}
    values = {"kind": "charge", "key": (bill, owner, "x"), "target": "chargebee", "scope": f"invoice:{owner}"}
    return wish("x", **{**values, "payload": {"bill_id": bill, "subscription_id": owner}, "state": wanted, **more})


def test_a_hold_is_set_once_and_released_once_and_can_be_set_again(ledger):
    assert (hold(ledger), hold(ledger)) == (True, False)
    assert hold(ledger, "acme")
    assert in_force(ledger) == [("", "ann", "looks wrong"), ("acme", "ann", "looks wrong")]
    assert (release(ledger), release(ledger)) == (True, False)
    assert in_force(ledger) == [("acme", "ann", "looks wrong")]
    assert hold(ledger)


def test_another_connections_hold_holds_nothing_here(ledger, open_ledger):
    hold(open_ledger("eu"))
    record(ledger, [wish("a")])
    assert [row.key for row in claim(ledger)] == [("a",)]


def test_while_all_is_held_nothing_is_claimed_taken_over_or_marked(ledger):
    record(ledger, [wish("a"), wish("b")])
    [first, _] = claim(ledger, lease_seconds=0.0001)
    assert claim(ledger, limit=1)
    hold(ledger)
    assert claim(ledger) == []
    with pytest.raises(OnHold, match="MB-ON-HOLD"):
        send(ledger, first)
    with ledger.write() as tx, pytest.raises(OnHold):
        intents.mark_sending_many(tx, {first.id: "POST"}, "run-1")
    with ledger.write() as tx, pytest.raises(OnHold):
        intents.reattempt(tx, first.id, "run-1")
    with ledger.write() as tx:
        assert intents.stale(tx, "run-2", kinds=("account",)) == []
    with ledger.read() as rx:
        assert [row.state for row in intents.open_rows(rx)] == ["ready", "ready"]
    release(ledger)
    assert len(claim(ledger, "run-3", lease_seconds=30)) in (1, 2)


@pytest.mark.parametrize(
    ("row", "is_held"),
    [
        pytest.param(wish("acme"), True, id="their-account"),
        pytest.param(wish("other"), False, id="another-account"),
        pytest.param(charge("sub-acme"), True, id="their-subscription"),
        pytest.param(charge("sub-other"), False, id="another-subscription"),
        pytest.param(charge("sub-other", payer="acme"), True, id="their-invoice"),
        pytest.param(
            wish("m", kind="external_mapping", key=("Bill", "b-acme", "i"), scope="bill:b-acme", payload={}),
            True,
            id="a-mapping-of-their-bill",
        ),
        pytest.param(
            wish("m", kind="external_mapping", key=("Bill", "b-other", "i"), scope="bill:b-other", payload={}),
            False,
            id="a-mapping-of-another-bill",
        ),
        pytest.param(
            charge("sub-x", kind="charge_set", payload={"customers": ["acme", "other"]}), True, id="one-of-the-payers"
        ),
        pytest.param(
            wish("r", kind="charge_removal", key=("b1", "sub-x", "k", "li"), scope="invoice:i", payload={}),
            True,
            id="a-removal-of-a-line-on-their-invoice",
        ),
        pytest.param(wish("m", kind="external_mapping", scope="x", payload={}), True, id="nobody-knows-whose"),
    ],
)
def test_a_customers_hold_keeps_what_is_theirs(ledger, row, is_held):
    kinds = (row.kind,)
    with ledger.write() as tx:
        for name in ("acme", "other"):
            mappings.put(tx, Mapping("account", (name,), f"acc-{name}", "", name, {"customer_id": name}))
            state = {"customer_id": name, "subscription_id": f"sub-{name}"}
            mappings.put(tx, Mapping("account_plan", (f"sub-{name}", "ip", "1"), f"ap-{name}", "", name, state))
            values = {"last_calculated": None, "status": "APPROVED", "locked": False, "bill_date": "2026-04-01"}
            bills.put(
                tx, bills.BillState(f"b-{name}", 1, None, **values, account_id=f"acc-{name}", currency="EUR", total="1")
            )
        mappings.put(tx, Mapping("charge", ("b1", "sub-x", "k"), "li", "", "i", {"customer_id": "acme"}))
        tx.commit()
    record(ledger, [row])
    [early] = claim(ledger, kinds=kinds, limit=1)
    hold(ledger, "acme")
    if is_held:
        with pytest.raises(OnHold):
            send(ledger, early)
    else:
        assert send(ledger, early)
        return
    with ledger.write() as tx:
        intents.release(tx, early.id, "run-1")
        tx.commit()
    assert claim(ledger, kinds=kinds) == []
    release(ledger, "acme")
    assert [one.key for one in claim(ledger, kinds=kinds)] == [row.key]
