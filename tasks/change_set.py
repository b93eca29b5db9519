"""The change set: decisions landed in the staging file, hashed, explained, and recorded in the ledger."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, assert_never, cast

from meterbridge.ledger import intents as ledger_intents
from meterbridge.ledger import quarantine
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.decisions import Proposal, Proposed
from meterbridge.rules.gate import GATED
from meterbridge.rules.keys import canonical, change_set_hash, key_from_text, key_text, shown
from meterbridge.rules.plan_intents import due_of
from meterbridge.rules.recall import marks_of
from meterbridge.rules.records import Decision, Intent, Key, Kind, OutOfScope, Quarantined, Ref, Unchanged, Waiting
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import moment
from tasks.engine import task
from tasks.moved_on import LEFT_OUT, land_moved, moved_on, seen, still_right
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All intents of one run, by hash, with counts; the rows themselves stay in the staging file.

    ``proposal`` is the hash of those that await approval, empty when nothing does; ``next_run`` counts the
    subscriptions that were seen and left to the next run.
    """

    hash: str
    intended: dict[str, int]
    unchanged: int
    out_of_scope: int
    waiting: int
    quarantined: int
    proposal: str = ""
    next_run: int = 0
    subjects: tuple[str, ...] = field(default=(), repr=False)

    @property
    def writes(self) -> int:
        """Intended writes."""
        return sum(self.intended.values())


@dataclass(slots=True)
class Tray:
    """Where decisions are put down before they are landed, sorted by what becomes of them."""

    refused: dict[tuple[str, Key], tuple[str, str, str]]
    intents: list[Intent] = field(default_factory=list)
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def put(self, decision: Decision) -> None:
        """Take one decision; a write that its vendor refused stays set aside until somebody says retry."""
        match decision:
            case Intent():
                self._put_intent(decision)
            case Unchanged(reason=""):
                self.counts["unchanged"] += 1
            case Unchanged():
                self._set_aside("unchanged", decision, message=decision.reason)
            case OutOfScope():
                money = {"amount": decision.amount, "currency": decision.currency}
                self._set_aside("out_of_scope", decision, message=decision.reason, **money)
            case Quarantined():
                money = {"amount": decision.amount, "currency": decision.currency}
                words = {"code": decision.code, "message": decision.message}
                due = decision.due.isoformat() if decision.due else None
                needed = decision.waits_for
                words["waits_for"] = "" if needed is None else canonical([needed.kind, *needed.key])
                version = decision.source_version
                self._set_aside("quarantined", decision, source_version=version, due=due, **money, **words)
            case Waiting():
                money = {"amount": decision.amount, "currency": decision.currency}
                until = decision.until.isoformat() if decision.until else None
                self._set_aside("waiting", decision, message=decision.reason, until=until, **money)
            case _:
                assert_never(decision)

    def is_aside(self, key: Key, code: str) -> bool:
        """True if a record is set aside for this reason."""
        return any((row["key"], row.get("code")) == (key_text(key), code) for row in self.set_aside)

    def take_back(self, key: Key, code: str) -> None:
        """No longer set a record aside for this reason."""
        rest = [row for row in self.set_aside if (row["key"], row.get("code")) != (key_text(key), code)]
        self.counts["quarantined"] -= len(self.set_aside) - len(rest)
        self.set_aside = rest

    def _put_intent(self, intent: Intent) -> None:
        names = [(intent.kind, intent.key, intent.fingerprint)]
        names += [("charge", tuple(one["key"]), one["fingerprint"]) for one in intent.payload.get("lines", ())]
        before = (self.refused.get((kind, key), ("", "", "")) for kind, key, _ in names)
        same = [one for one, name in zip(before, names, strict=True) if one[0] == name[2]]
        if not same:
            self.intents.append(intent)
            return
        _, code, message = same[0]
        money = (intent.amount, intent.currency)
        due = due_of(intent.kind, intent.action, intent.payload, intent.state)
        self.put(Quarantined(intent.kind, intent.key, code, message, *money, intent.source_version, due=due))

    def _set_aside(self, word: str, decision: OutOfScope | Quarantined | Unchanged | Waiting, **rest: Any) -> None:
        self.counts[word] += 1
        self.set_aside.append({"decision": word, "kind": decision.kind, "key": key_text(decision.key), **rest})


FINAL_CODES = ("MB-REFUSED", "MB-ACCOUNT-CLASH", "MB-CHARGE-WRONG", "MB-DOUBLE-CHARGE", "MB-DRAFT-LOST")
"""Refusals that another try would only repeat; everything else is decided again in every run."""


def refused_before(rx: Reader, kinds: tuple[str, ...]) -> dict[tuple[str, Key], tuple[str, str, str]]:
    """Intents that a vendor refused and nobody has retried: (fingerprint, code, message) by kind and key."""
    waiting = {(row.kind, row.key) for row in quarantine.list(rx, state="open")}
    found = {}
    for row in ledger_intents.refused_rows(rx, kinds):
        if (row.kind, row.key) in waiting and row.error_code in FINAL_CODES:
            found[row.kind, row.key] = (row.fingerprint, row.error_code or "MB-REFUSED", row.error_message or "")
    return found


def _set_dependents_aside(tray: Tray) -> None:
    """What builds on a record that is set aside cannot be sent either; it follows once that one is cleared."""
    aside = {(row["kind"], row["key"]) for row in tray.set_aside if row["decision"] == "quarantined"}
    sendable: list[Intent] = []
    for intent in tray.intents:
        blocking = next((ref for ref in intent.depends_on if (ref.kind, key_text(ref.key)) in aside), None)
        if blocking is None:
            sendable.append(intent)
        else:
            aside.add((intent.kind, key_text(intent.key)))
            tray.put(waits_for(intent, blocking))
    unmade = marks_of(tray.intents, {(one.kind, one.key) for one in tray.intents} - {(i.kind, i.key) for i in sendable})
    tray.intents = [one for one in sendable if (one.kind, one.key) not in unmade]


def waits_for(intent: Intent | ledger_intents.IntentRow, blocking: Ref) -> Quarantined:
    """The quarantine of an intent whose foundation is set aside."""
    message = f"waits for {blocking.kind.replace('_', ' ')} {shown(blocking.key)}, which is set aside"
    state = intent.state if isinstance(intent, Intent) else intent.wanted
    return Quarantined(
        cast(Kind, intent.kind),
        intent.key,
        "MB-DEPENDS",
        message,
        intent.amount,
        intent.currency,
        intent.source_version,
        due=due_of(intent.kind, intent.action, intent.payload, state),
        waits_for=blocking,
    )


Gate = Callable[[Tray], Proposed]


def land(file: Staging, tray: Tray, subjects: Iterable[str], gate: Gate | None = None) -> ChangeSet:
    """Put all decisions into ``out_intents`` and ``out_set_aside``; returns the change set's summary.

    ``gate`` says which of the intents await approval.
    """
    _set_dependents_aside(tray)
    proposed = gate(tray) if gate else Proposed()
    file.clear("out_intents", "out_set_aside")
    file.land_rows("out_intents", (intent_row(intent, proposed) for intent in tray.intents))
    file.land_rows("out_set_aside", tray.set_aside)
    intended = Counter(f"{intent.kind}.{intent.action}" for intent in tray.intents)
    return ChangeSet(
        hash=change_set_hash(tray.intents),
        intended=dict(sorted(intended.items())),
        unchanged=tray.counts["unchanged"],
        out_of_scope=tray.counts["out_of_scope"],
        waiting=tray.counts["waiting"],
        quarantined=tray.counts["quarantined"],
        proposal=proposed.change_set,
        next_run=file.count("out_next_run"),
        subjects=tuple(sorted(set(subjects))),
    )


def intent_row(intent: Intent, proposed: Proposed) -> dict[str, Any]:
    """A row of ``out_intents``."""
    waits = proposed.why.get((intent.kind, intent.key))
    return {
        "kind": intent.kind,
        "key": key_text(intent.key),
        "action": intent.action,
        "target": intent.target,
        "payload": canonical(intent.payload),
        "fingerprint": intent.fingerprint,
        "reason": intent.reason,
        "scope": intent.scope,
        "depends_on": canonical(intent.depends_on),
        "state": canonical(intent.state),
        "amount": intent.amount,
        "currency": intent.currency,
        "source_version": intent.source_version,
        "warnings": canonical(intent.warnings),
        "proposed": waits and waits.why,
        "proposed_words": waits and waits.words,
    }


def landed_intents(file: Staging) -> Iterator[Intent]:
    """Read the intents back from ``out_intents``, in the order in which they were decided."""
    for row in file.rows("select * from out_intents order by rowid"):
        yield Intent(
            kind=row["kind"],
            key=key_from_text(row["key"]),
            action=row["action"],
            target=row["target"],
            payload=json.loads(row["payload"]),
            fingerprint=row["fingerprint"],
            reason=row["reason"],
            scope=row["scope"],
            depends_on=tuple(Ref(ref["$ref"][0], tuple(ref["$ref"][1:])) for ref in json.loads(row["depends_on"])),
            state=json.loads(row["state"]),
            amount=_number(row["amount"]),
            currency=row["currency"],
            source_version=_number(row["source_version"]),
            warnings=tuple(json.loads(row["warnings"])),
        )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def landed_proposal(file: Staging, change_set: ChangeSet) -> Proposed:
    """Read back what of the change set awaits approval, and why."""
    rows = file.rows("select kind, key, proposed, proposed_words from out_intents where proposed is not null")
    why = {(row["kind"], key_from_text(row["key"])): Proposal(row["proposed"], row["proposed_words"]) for row in rows}
    return Proposed(change_set.proposal, why)


def landed_quarantine(file: Staging) -> Iterator[Quarantined]:
    """Read what was set aside with a code back from ``out_set_aside``."""
    for row in file.rows("select * from out_set_aside where decision = 'quarantined' order by rowid"):
        yield Quarantined(
            row["kind"],
            key_from_text(row["key"]),
            row["code"],
            row["message"],
            _number(row["amount"]),
            row["currency"],
            _number(row["source_version"]),
            due=moment(row["due"]),
        )


@task(name="record change set")
def record(run: Run, change_set: ChangeSet, kinds: tuple[str, ...], subject: Callable[[str, Key], str]) -> int:
    """Write every intent down in one transaction before any is sent; returns how many are new.

    Unsent older intents of the subjects decided here are superseded. Quarantine rows
    of these subjects that were not set aside again are cleared. What somebody else
    changed since this run read the ledger is left as it is.
    """
    work = services(run.run_id)
    decided = set(change_set.subjects)
    with opened(run.path) as file, work.ledger.write() as tx:
        moved = moved_on(tx, file)
        aside = [one for one in landed_quarantine(file) if one.kind not in GATED or one.key[:2] not in moved]
        again = {(q.kind, q.key) for q in aside}
        stale = [
            row.key
            for row in ledger_intents.open_rows(tx, kinds)
            if (row.scope in decided or subject(row.kind, row.key) in decided) and not _is_theirs(row, moved)
        ]
        recorded = ledger_intents.record(
            tx,
            run.run_id,
            change_set.hash,
            still_right(landed_intents(file), moved),
            site=work.settings.chargebee_site,
            proposed=landed_proposal(file, change_set),
            kinds=kinds,
            keys_decided=stale,
            seen=seen(file),
        )
        land_moved(file, {key[:2] for kind, key in recorded.left_out if kind in GATED})
        file.land_rows("run_facts", [{"name": LEFT_OUT, "value": str(len(recorded.left_out))}])
        kept = {*again, *recorded.left_out}
        for found in quarantine.to_decide(tx):
            ours = found.kind in kinds and subject(found.kind, found.key) in decided
            if ours and (found.kind, found.key) not in kept and found.key[:2] not in moved:
                quarantine.clear(tx, found.kind, found.key)
        for decision in aside:
            quarantine.put(tx, run.flow, decision, run.run_id)
        tx.commit()
    logger.info("recorded", extra={"run_id": run.run_id, "count": recorded.inserted, "change_set": change_set.hash})
    return recorded.inserted


def _is_theirs(row: ledger_intents.IntentRow, moved: set[Key]) -> bool:
    """True if somebody else works on the row's portion: a mapping's portion is not told by its key, its bill is."""
    if row.kind == "external_mapping":
        return row.key[1:2] in {portion[:1] for portion in moved}
    return row.key[:2] in moved
