"""Short words for what the ledger's tests do again and again, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from meterbridge.ledger import intents
from meterbridge.ledger.ledger import Ledger
from meterbridge.rules.decisions import Proposal, Proposed
from meterbridge.rules.records import Intent, Key, Ref

KINDS = ("account", "account_plan", "charge")


def wish(name: str, *, kind: str = "account", fingerprint: str = "fp-1", **rest: Any) -> Intent:
    """An intent for one natural key."""
    values: dict[str, Any] = {
        "kind": kind,
        "key": (name,),
        "action": "create",
        "target": "m3ter",
        "payload": {"subscription_id" if kind == "charge" else "code": name},
        "fingerprint": fingerprint,
        "reason": f"{name} is new",
        "scope": f"account:{name}",
    }
    return Intent(**{**values, **rest})


def after(name: str, kind: str = "account") -> tuple[Ref, ...]:
    """What an intent depends on."""
    return (Ref(kind, (name,)),)  # type: ignore[arg-type]


def record(ledger: Ledger, wanted: Iterable[Intent], run_id: str = "run-1", **rest: Any) -> intents.Recorded:
    """Record and commit; what is ``proposed`` (names, or True for all) is so as ``set of <run>``."""
    wanted = list(wanted)
    change_set = rest.pop("change_set", f"set of {run_id}")
    asked = rest.pop("proposed", ())
    chosen = {
        (one.kind, one.key): Proposal("approval", "asked for", follows=bool(one.depends_on))
        for one in wanted
        if asked is True or (asked and one.key[0] in asked)
    }
    with ledger.write() as tx:
        done = intents.record(
            tx, run_id, change_set, wanted, "acme-test", proposed=Proposed(change_set, chosen), **rest
        )
        tx.commit()
    return done


def claim(ledger: Ledger, owner: str = "run-1", **rest: Any) -> list[intents.IntentRow]:
    """Claim and commit."""
    with ledger.write() as tx:
        rows = intents.claim(tx, owner, **{"kinds": KINDS, "limit": 100, **rest})
        tx.commit()
    return rows


def stale(ledger: Ledger, owner: str, **rest: Any) -> list[intents.IntentRow]:
    """Take over and commit."""
    with ledger.write() as tx:
        rows = intents.stale(tx, owner, **{"kinds": KINDS, **rest})
        tx.commit()
    return rows


def send(ledger: Ledger, row: intents.IntentRow, owner: str = "run-1", request: str = "POST /accounts") -> bool:
    """Mark one row as sending and commit."""
    with ledger.write() as tx:
        marked = intents.mark_sending(tx, row.id, owner, request, {"line_ids": ["li-1"]})
        tx.commit()
    return marked


def outcome(ledger: Ledger, name: str, row: intents.IntentRow, owner: str = "run-1", *rest: Any, **named: Any) -> bool:
    """Call one of the guarded functions and commit; returns its answer."""
    with ledger.write() as tx:
        done: bool = getattr(intents, name)(tx, row.id, owner, *rest, **named)
        tx.commit()
    return done


def latest(ledger: Ledger, name: str, kind: str = "account") -> intents.IntentRow:
    """The newest row of a natural key."""
    with ledger.read() as rx:
        row = intents.by_key(rx, kind, (name,))
    assert row is not None
    return row


def states(ledger: Ledger, name: str, kind: str = "account") -> list[str]:
    """The states of all generations of a natural key."""
    with ledger.read() as rx:
        return [row.state for row in intents.history(rx, kind, (name,))]


def names(rows: Sequence[intents.IntentRow]) -> list[str]:
    """First parts of the natural keys."""
    return [row.key[0] for row in rows]


def keys(*each: str) -> list[Key]:
    """Natural keys."""
    return [(name,) for name in each]
