"""Charges and credits of an older or lost ledger, taken over from both vendors as they stand there. Writes nothing.

What a run of ``sync_bills`` would decide without any knowledge is decided; of that only what takes over what stands
is written down. Bills of which something is left are doubted: a person may have decided about them since.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from meterbridge.ledger import doubts, identity, intents, mappings, money_runs, quarantine
from meterbridge.ledger.intents import Applied, IntentRow
from meterbridge.ledger.ledger import Reader, Writer
from meterbridge.ledger.note import new_home
from meterbridge.rules.gate import GATED
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.records import Intent
from meterbridge.staging.database import Staging, opened
from tasks.change_set import ChangeSet, landed_intents, landed_quarantine
from tasks.engine import task
from tasks.ledger_trust import examine, note_of
from tasks.rebuild_credits import Credits
from tasks.rebuild_mappings import take_over_bill_mappings
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

LEASE_SECONDS = 3_600.0
"""Nothing is sent under it, and it ends with the transaction that takes it."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was taken over, and what is left to ask.

    Attributes:
        charges: Charges that stand and that the ledger did not know, or knew otherwise.
        counts: How many credits and external mappings were taken over.
        strange: Ids of credits with our reference that were given for no portion there is.
        doubted: Bills of which more is wanted than stands, by id with the amounts (minor units) and their currency.
        aside: What nobody but a person can tell, as code and message.
        missing: Runs of the note that the ledger lacked.
        decided: How many decisions of persons the ledger keeps, by kind.
    """

    charges: list[dict[str, Any]]
    counts: dict[str, int]
    strange: tuple[str, ...]
    doubted: list[dict[str, Any]]
    aside: list[dict[str, Any]]
    missing: tuple[str, ...]
    decided: dict[str, int]


@task(name="take over what stands")
def take_over(run: Run, change_set: ChangeSet, given: Credits, *, dry_run: bool) -> Rebuilt:
    """Write down what stands and is not in the ledger; what else was decided is not recorded, but doubted."""
    work = services(run.run_id)
    trust = examine(work.settings, work.ledger)
    with opened(run.path) as file, work.ledger.write() as tx:
        decided = list(landed_intents(file))
        standing = [_trusted(one) for one in decided if one.kind == "charge" and one.action == "adopt"]
        known = mappings.remote_ids(tx, [(one.kind, one.key) for one in standing])
        news = [one for one in standing if known.get((one.kind, one.key)) != one.payload["line_id"]]
        _apply(tx, run, change_set, [*news, *given.news], site=work.settings.chargebee_site)
        mapped = take_over_bill_mappings(tx, file, run)
        found = Rebuilt(
            charges=[_shown(one) for one in news],
            counts={"credit": len(given.news), "external_mapping": mapped},
            strange=given.strange,
            doubted=_doubted(file, [one for one in decided if one.kind in GATED and one.action != "adopt"]),
            aside=[_aside(one) for one in landed_quarantine(file) if one.kind in GATED],
            missing=trust.missing,
            decided=_decided_by_persons(tx),
        )
        bills = {row["bill_id"] for row in found.doubted} | {row["key"][0] for row in found.aside}
        doubts.put(tx, sorted(bills), "the ledger was rebuilt", run.run_id)
        here = _acknowledge(tx, work, trust.missing)
        if not dry_run:
            tx.commit()
    if not dry_run:
        note = note_of(work.settings)
        home = note.read().home or new_home()
        note.append("rebuilt", run.run_id, here, home=home, proven=False, missing=list(trust.missing))
    logger.info("taken over", extra={"run_id": run.run_id, "count": len(news), "doubted": len(bills)})
    return found


def _trusted(intent: Intent) -> Intent:
    """A charge that was found with everything else that stands: it counts like one that the ledger sent itself."""
    state = {name: value for name, value in intent.state.items() if name != "adopted"}
    return replace(intent, state={**state, "rebuilt": True})


def _apply(tx: Writer, run: Run, change_set: ChangeSet, news: Sequence[Intent], *, site: str) -> None:
    """Record and conclude at once, so that each charge has its intent and reason; unsent writes are taken back.

    A write in ``sending`` or ``unknown`` stays: the next run finds out what became of it.
    """
    unsent = [row.key for row in intents.open_rows(tx, GATED)]
    name = change_set.hash
    alone = [replace(one, depends_on=()) for one in news]
    intents.record(tx, run.run_id, name, alone, site, kinds=GATED, keys_decided=unsent)
    rows: list[IntentRow] = []
    while some := intents.claim(
        tx,
        run.run_id,
        kinds=("charge", "credit"),
        limit=500,
        change_set=name,
        lease_seconds=LEASE_SECONDS,
        despite_holds=True,
    ):
        rows += some
    intents.apply_many(tx, run.run_id, (Applied(row.id, _outcome(row), _mapping(run, row)) for row in rows))


def _outcome(row: IntentRow) -> dict[str, Any]:
    name = "line_id" if row.kind == "charge" else "credit_id"
    return {name: row.payload[name], "written": False}


def _mapping(run: Run, row: IntentRow) -> mappings.Mapping:
    if row.kind == "credit":
        remote_id, scope, state = row.payload["credit_id"], row.payload["bill_id"], dict(row.wanted)
    else:
        remote_id, scope = row.payload["line_id"], row.payload["invoice_id"]
        state = {**row.wanted, "line_id": remote_id, "invoice_id": scope}
    version = row.source_version
    return mappings.Mapping(
        row.kind, row.key, remote_id, row.fingerprint, scope, state, source_version=version, run_id=run.run_id
    )


def _acknowledge(tx: Writer, work: Services, missing: Sequence[str]) -> str:
    """The runs that the ledger lacked are known from now on, as such; returns the ledger's identity."""
    home = note_of(work.settings).read().home or new_home()
    for run_id in missing:
        money_runs.put(tx, run_id, home, "", 0)
    return identity.settle(tx, work.ledger.path)


def _doubted(file: Staging, wanted: Sequence[Intent]) -> list[dict[str, Any]]:
    """Bills that would be charged, credited or waited for, with what they still want."""
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in wanted:
        sums[one.key[0], one.currency or ""]["amount"] += one.amount or 0
    waiting = file.rows(
        "select key, amount, currency from out_set_aside where decision = 'waiting' and kind = 'charge'"
    )
    for row in waiting:
        sums[key_from_text(row["key"])[0], row["currency"] or ""]["amount"] += int(row["amount"] or 0)
    return [
        {"bill_id": bill_id, "amount": counted["amount"], "currency": currency}
        for (bill_id, currency), counted in sorted(sums.items())
    ]


def _decided_by_persons(rx: Reader) -> dict[str, int]:
    """What the ledger keeps of what people decided before it was backed up."""
    kept = Counter({"dismissed": len(quarantine.list(rx, "dismissed"))})
    for kind in ("settled", "undone"):
        kept[kind] = sum(1 for _ in mappings.all(rx, kind, active_only=True))
    return {name: count for name, count in sorted(kept.items()) if count}


def _shown(intent: Intent) -> dict[str, Any]:
    names = ("bill_id", "invoice_id", "line_id", "subscription_id")
    named = {name: intent.payload[name] for name in names}
    return {**named, "amount": intent.amount, "currency": intent.currency, "reason": intent.reason}


def _aside(one: Any) -> dict[str, Any]:
    return {
        "key": list(one.key),
        "code": one.code,
        "message": one.message,
        "amount": one.amount,
        "currency": one.currency,
    }
