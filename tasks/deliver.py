"""Send what the ledger holds: waves by kind, one Prefect task a batch; first find out what a crash left open."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from meterbridge.clock import boottime
from meterbridge.errors import OnHold
from meterbridge.ledger import holds, intents, quarantine
from meterbridge.ledger.transaction import Reader, Writer
from meterbridge.rules.gate import GATED
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.kinds import Wave, waves
from meterbridge.rules.records import Key
from meterbridge.staging.database import opened
from tasks.change_set import waits_for
from tasks.engine import task
from tasks.ledger_trust import vouch
from tasks.receipts import Receipt, as_shown
from tasks.runs import Run
from tasks.services import services
from tasks.waits import Pace
from tasks.write_charge_sets import ChargeSets
from tasks.write_charges import Charges
from tasks.write_credits import Credits
from tasks.write_m3ter import M3terWrites
from tasks.write_protocol import Open
from tasks.write_removals import Removals
from tasks.write_usage import UsageRecords, UsageRemovals
from tasks.writes import send

logger = logging.getLogger(__name__)

LEAST_BATCH = 500
MOST_BATCHES = 16
LEASE_SLACK_SECONDS = 1
LOOK_SECONDS = 0.2
"""Between looks at what another run holds."""


WRITES: dict[str, Open] = {
    "account": M3terWrites,
    "account_plan": M3terWrites,
    "external_mapping": M3terWrites,
    "charge_removal": Removals,
    "charge": Charges,
    "charge_set": ChargeSets,
    "credit": Credits,
    "usage_removal": UsageRemovals,
    "usage": UsageRecords,
}
"""Which class writes a kind of :data:`meterbridge.rules.kinds.KINDS_OF_WRITE`."""

SUBSCRIPTION_WAVES = waves("subscriptions")
BILL_WAVES = waves("bills")
USAGE_WAVES = waves("usage")


@dataclass(slots=True)
class Delivered:
    """What became of a run's intents, all batches together."""

    applied: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: int = 0
    pace: Pace = field(default_factory=Pace)
    waited_for_others: float = 0.0

    def add(self, receipt: Receipt) -> None:
        """Count one batch."""
        self.applied.update(receipt.applied)
        self.moved.update(receipt.moved)
        self.refused += receipt.refused
        self.notes += receipt.notes


def deliver(run: Run, waves: Sequence[Wave]) -> Delivered:
    """Probe what is open, then send wave by wave until nothing is left that may be sent.

    What another run holds of this one's records is waited for, up to one lease: a run
    that was killed lets go by then, and what it left is probed. What is held longer is counted.
    """
    done = Delivered()
    patience = boottime() + services(run.run_id).settings.lease_seconds + LEASE_SLACK_SECONDS
    for wave in waves:
        _deliver_wave(run, wave, done)
        while held := _held_elsewhere(run, wave):
            asked = boottime()
            while boottime() < patience and _held_elsewhere(run, wave) >= held:
                time.sleep(LOOK_SECONDS)
            done.waited_for_others += boottime() - asked
            _deliver_wave(run, wave, done)
            if boottime() >= patience:
                break
    _set_dependents_aside(run, waves, done)
    done.held = _still_open(run, waves)
    return done


def _deliver_wave(run: Run, wave: Wave, done: Delivered) -> None:
    if not _any_to_conclude(run, wave):
        return
    work = services(run.run_id)
    if _is_all_held(run):
        return
    if wave.kind in GATED:
        vouch(work, run.run_id)
    with done.pace.measured(work) if wave.target == "chargebee" and _has_work(run, wave) else nullcontext():
        try:
            _deliver_batches(run, wave, done)
        except OnHold as held:  # said while this run was sending: what has not left stays, and is counted as held
            logger.warning("sending was stopped", extra={"run_id": run.run_id, "reason": held.message})


def _is_all_held(run: Run) -> bool:
    """True while a person has stopped the sending for everybody: nothing is begun then, nor noted as begun."""
    with services(run.run_id).ledger.read() as rx:
        return any(one.customer_id == holds.ALL for one in holds.active(rx))


def _any_to_conclude(run: Run, wave: Wave) -> bool:
    with services(run.run_id).ledger.read() as rx:
        if wave.scopes:
            return bool(_scopes(rx, wave))
        return intents.any_to_conclude(rx, wave.kind)


def _scopes(rx: Reader, wave: Wave) -> set[str] | None:
    """The scopes that the wave is confined to; None where it takes its kind whole."""
    if not wave.scopes:
        return None
    return {row.scope for row in intents.open_within(rx, wave.kind, wave.scopes) if row.state != "proposed"}


def _has_work(run: Run, wave: Wave) -> bool:
    with services(run.run_id).ledger.read() as rx:
        return intents.ready_counts(rx, wave.kind)[0] > 0


def _deliver_batches(run: Run, wave: Wave, done: Delivered) -> None:
    done.add(probe_open(run, wave))
    size = _batch_size(run, wave)
    number = 0
    while _any_to_conclude(run, wave):
        number += 1
        receipt = deliver_batch(run, wave, number, size)
        done.add(receipt)
        if not receipt.concluded:
            break


def _held_elsewhere(run: Run, wave: Wave) -> set[int]:
    """Rows that this run wants to write, or that keep an invoice or account of its rows busy, leased by another run."""
    with services(run.run_id).ledger.read() as rx:
        leased = [
            row
            for row in intents.leased(rx, (wave.kind,), not_by=run.run_id)
            if not wave.scopes or row.scope.startswith(wave.scopes)
        ]
        if not leased:
            return set()
        ours = [row for row in intents.of_run(rx, run.run_id) if row.kind == wave.kind]
    names = _own_names(run) | {(row.kind, row.key) for row in ours}
    scopes = {row.scope for row in ours if row.state == "ready"} if wave.kind != "external_mapping" else set()
    return {row.id for row in leased if (row.kind, row.key) in names or row.scope in scopes}


def _own_names(run: Run) -> set[tuple[str, Key]]:
    """Kinds and natural keys of the run's change set: the ledger lists those that are blocked under another run."""
    if not run.path.exists():
        return set()
    with opened(run.path) as file:
        return {(row["kind"], key_from_text(row["key"])) for row in file.rows("select kind, key from out_intents")}


def _set_dependents_aside(run: Run, waves: Sequence[Wave], done: Delivered) -> None:
    """Take back what waits for a write that was refused, and say so in the quarantine."""
    work = services(run.run_id)
    kinds = tuple(wave.kind for wave in waves)
    with work.ledger.write() as tx:
        ready = [row for row in intents.open_rows(tx, kinds) if row.state == "ready" and row.run_id == run.run_id]
        aside = {(row.kind, row.key) for row in intents.refused_rows(tx, kinds)}
        stuck = []
        for row in ready:
            blocking = next((ref for ref in row.depends_on if (ref.kind, ref.key) in aside), None)
            if blocking is not None:
                aside.add((row.kind, row.key))
                stuck.append(row.key)
                waiting = waits_for(row, blocking)
                quarantine.put(tx, run.flow, waiting, run.run_id)
                done.refused.append(as_shown(waiting))
        intents.record(tx, run.run_id, "", [], work.settings.chargebee_site, kinds=kinds, keys_decided=stuck)
        tx.commit()


@task(name="probe open {wave.kind}")
def probe_open(run: Run, wave: Wave) -> Receipt:
    """Find out what became of writes that were left without an answer, before anything is sent again."""
    work = services(run.run_id)
    with work.ledger.write() as tx:
        rows = _stale(tx, run, wave, work.settings.lease_seconds)
        tx.commit()
    return _send(run, wave, rows) if rows else Receipt()


@task(name="deliver {wave.kind} {number}")
def deliver_batch(run: Run, wave: Wave, number: int, size: int) -> Receipt:
    """Claim up to ``size`` intents of the wave, send them, record every outcome."""
    del number  # names the task run
    work = services(run.run_id)
    with work.ledger.write() as tx:
        again = _stale(tx, run, wave, work.settings.lease_seconds)
        fresh = _claim(tx, run, wave, size, work.settings.lease_seconds)
        tx.commit()
    rows = [*again, *fresh]
    receipt = _send(run, wave, rows) if rows else Receipt()
    logger.info("batch delivered", extra={"run_id": run.run_id, "kind": wave.kind, "count": len(rows)})
    return receipt


def _stale(tx: Writer, run: Run, wave: Wave, lease: float) -> list[intents.IntentRow]:
    return intents.stale(tx, run.run_id, kinds=(wave.kind,), lease_seconds=lease, scopes=_scopes(tx, wave))


def _claim(tx: Writer, run: Run, wave: Wave, size: int, lease: float) -> list[intents.IntentRow]:
    """Ready rows of the wave, whole scopes only: no other run may write to the same invoice or account meanwhile."""
    if wave.kind == "external_mapping":
        return intents.claim(
            tx, run.run_id, kinds=(wave.kind,), limit=size, lease_seconds=lease, scopes=_scopes(tx, wave)
        )
    # As many scopes as make a batch with all their rows: what a draft gets it gets at once, and it is read once.
    rows, scopes_ready = intents.ready_counts(tx, wave.kind)
    some = max(1, size * scopes_ready // max(1, rows))
    first = intents.claim(tx, run.run_id, kinds=(wave.kind,), limit=some, lease_seconds=lease, exclusive_scope=True)
    scopes = {row.scope for row in first}
    if not scopes:
        return first
    return [*first, *intents.claim(tx, run.run_id, kinds=(wave.kind,), limit=size, lease_seconds=lease, scopes=scopes)]


def _send(run: Run, wave: Wave, rows: Sequence[intents.IntentRow]) -> Receipt:
    return send(services(run.run_id), run, WRITES[wave.kind], rows)


def _batch_size(run: Run, wave: Wave) -> int:
    with services(run.run_id).ledger.read() as rx:
        waiting, _ = intents.ready_counts(rx, wave.kind)
    return max(LEAST_BATCH, -(-waiting // MOST_BATCHES))


def _still_open(run: Run, waves: Sequence[Wave]) -> int:
    """Rows of this run's change set that nobody has concluded, whichever run wrote them down, and unknown outcomes."""
    with services(run.run_id).ledger.read() as rx:
        rows = [row for row in intents.open_rows(rx, tuple(wave.kind for wave in waves)) if row.state != "proposed"]
    if not rows:
        return 0
    names = _own_names(run)
    return sum(1 for row in rows if row.run_id == run.run_id or row.state == "unknown" or (row.kind, row.key) in names)
