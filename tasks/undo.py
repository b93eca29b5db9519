"""A run's lines on pending invoices are taken off again, its unbilled charges deleted, and their portions set aside.

They stay so until somebody says retry.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from meterbridge.errors import RetriableError, SetupError
from meterbridge.ledger import bills, facts, intents, mappings, quarantine, runs
from meterbridge.ledger.ledger import Reader, Writer, moment
from meterbridge.ledger.mappings import Mapping
from meterbridge.rules.charge_intents import removal_words
from meterbridge.rules.charge_mappings import Held, Names, mapping_intents
from meterbridge.rules.decisions import Proposed
from meterbridge.rules.gate import GATED
from meterbridge.rules.keys import change_set_hash, fingerprint
from meterbridge.rules.kinds import waves
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import Concern, count_of, with_money
from meterbridge.rules.records import Intent, Key, Quarantined
from meterbridge.rules.standing import is_unbilled
from meterbridge.staging.database import opened
from tasks.change_set import ChangeSet, intent_row
from tasks.decide_bills import KINDS
from tasks.deliver import Delivered
from tasks.engine import task
from tasks.report import RunReport, build
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

UNDO_WAVES = waves("undo")


@dataclass(frozen=True, slots=True)
class Undoing:
    """Lines of a run: those that come off, and those that stay with the reason."""

    run_id: str
    change_set: ChangeSet
    off: tuple[Mapping, ...]
    kept: tuple[dict[str, Any], ...]


class UndoReport(RunReport):
    """What was taken back, as ``--json`` prints it; amounts in minor units.

    ``undone`` are lines that are off their invoice now, ``kept`` those that stay, with why.
    """

    undone_run: str = ""
    undone: list[dict[str, Any]] = Field(default_factory=list)
    kept: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def concerns(self) -> list[Concern]:
        """Lines that were to come off and stay, before all else."""
        if not self.kept:
            return super().concerns
        stays = f"{count_of(len(self.kept), 'line')} not taken off"
        return [Concern("Set aside", with_money(stays, self.kept)), *super().concerns]


@task(name="find the lines of {target}")
def decide_undo(run: Run, target: str, by: str) -> Undoing:
    """Decide what comes off, and write it down together with the portions that are set aside.

    Raises:
        SetupError: MB-COMMAND, the ledger knows no such run.
        RetriableError: MB-HELD, the run is at work.
    """
    work = services(run.run_id)
    with work.ledger.read() as rx:
        _refuse(rx, target)
        lines = _lines_of(rx, target)
    open_places = _open(work, {line.state["invoice_id"] for line in lines})
    off = [line for line in lines if line.state["invoice_id"] in open_places]
    closed = [line for line in lines if line.state["invoice_id"] not in open_places]
    kept = [_shown(line, "its invoice is closed: credit it there") for line in closed]
    with work.ledger.write() as tx:
        decided = [_removal(line, target) for line in off]
        decided += _mappings(tx, decided)
        kept += _credits(tx, target)
        _record(tx, run, decided, off, by)
        tx.commit()
    with opened(run.path) as file:
        file.clear("out_intents")
        file.land_rows("out_intents", (intent_row(one, Proposed()) for one in decided))
    intended = Counter(f"{one.kind}.{one.action}" for one in decided)
    change_set = ChangeSet(change_set_hash(decided), dict(sorted(intended.items())), 0, 0, 0, 0)
    logger.info("undoing", extra={"run_id": run.run_id, "undone": target, "count": len(off)})
    return Undoing(target, change_set, tuple(off), tuple(kept))


def _refuse(rx: Reader, target: str) -> None:
    if not runs.attempts(rx, target):
        raise SetupError("MB-COMMAND", f"the ledger knows no run {target!r}; `meterbridge status` shows the last ones")
    now = moment(rx)
    ours = _attempts(rx, target)
    if any(row.lease_owner in ours and (row.lease_until or 0) > now for row in intents.open_rows(rx, GATED)):
        raise RetriableError("MB-HELD", f"run {target} is at work; stop it, or wait until it has ended", key=target)


def _attempts(rx: Reader, target: str) -> set[str]:
    """The run's id; of a flow run that was tried again the ids of all its attempts."""
    return {row.run_id for row in runs.attempts(rx, target)}


def _lines_of(rx: Reader, target: str) -> list[Mapping]:
    """Charges that the run wrote and that stand by the ledger; what it took over or netted is no line of its own."""
    found, ours = [], _attempts(rx, target)
    for one in mappings.all(rx, "charge", active_only=True):
        if not one.remote_id or one.state.get("adopted"):
            continue
        row = None if one.run_id in ours else intents.by_key(rx, "charge", one.key)
        if one.run_id in ours or (row is not None and row.run_id in ours):
            found.append(one)
    return found


def _open(work: Services, places: Iterable[str]) -> set[str]:
    """Those that are drafts still, each read by its id, now; of unbilled charges only the deletion tells."""
    found = set()
    for place in sorted(places):
        invoice = None if is_unbilled(place) else work.chargebee.invoice_or_none(place)
        pending = invoice is not None and invoice.id == place and invoice.status == "pending"
        if pending or is_unbilled(place):
            found.add(place)
    return found


def _shown(line: Mapping, why: str = "") -> dict[str, Any]:
    names = ("invoice_id", "bill_id", "subscription_id", "amount", "currency")
    return {
        "line_id": line.remote_id,
        **{name: line.state.get(name) for name in names},
        **({"why": why} if why else {}),
    }


def _credits(rx: Reader, target: str) -> list[dict[str, Any]]:
    """Credits are no lines of an invoice: they are told, and stay."""
    attempts = _attempts(rx, target)
    ours = (one for one in mappings.all(rx, "credit", active_only=True) if _by(rx, one, attempts))
    return [_shown(one, "a credit: take it back in Chargebee") for one in ours]


def _by(rx: Reader, one: Mapping, attempts: set[str]) -> bool:
    row = intents.by_key(rx, one.kind, one.key)
    return row is not None and row.run_id in attempts


def _removal(line: Mapping, target: str) -> Intent:
    invoice_id, line_id = line.state["invoice_id"], line.remote_id
    return Intent(
        kind="charge_removal",
        key=(*line.key, line_id),
        action="delete",
        target="chargebee",
        payload={
            "invoice_id": invoice_id,
            "line_ids": [line_id],
            "charge": list(line.key),
            "bill_id": line.state["bill_id"],
            "undo_of": target,
        },
        fingerprint=fingerprint([invoice_id, line_id]),
        reason=f"{removal_words(invoice_id, line_id)}: run {target} is undone",
        scope=f"invoice:{invoice_id}",
        amount=-line.state["amount"],
        currency=line.state["currency"],
        source_version=line.source_version,
    )


def _mappings(tx: Reader, removals: Sequence[Intent]) -> list[Intent]:
    """m3ter's mappings of lines that go, and of bills that no line is left of on their invoice."""
    concerned = {one.payload["bill_id"] for one in removals}
    names = Names.of(json.loads(facts.get(tx, "m3ter_mapping_names") or "{}"))
    known = {row.key for row in mappings.all(tx, "external_mapping", active_only=True)}
    rows = [one for one in mappings.all(tx, "charge", active_only=True) if one.state["bill_id"] in concerned]
    held = [
        Held(one.key, one.state["invoice_id"], one.remote_id, tuple(one.state.get("bill_line_ids", ())))
        for one in rows
        if one.remote_id and not is_unbilled(one.state["invoice_id"])
    ]
    return [one for one in mapping_intents(removals, names, known=known, held=held) if one.action == "delete"]


def _record(tx: Writer, run: Run, decided: Sequence[Intent], off: Sequence[Mapping], by: str) -> None:
    """Everything at once: the portions are held before the first line goes, so that no run charges them anew."""
    by_portion: dict[Key, list[Mapping]] = defaultdict(list)
    for line in off:
        by_portion[line.state["bill_id"], line.state["subscription_id"]].append(line)
    for portion, lines in by_portion.items():
        _hold(tx, run, portion, lines, by)
    unsent = [row.key for row in intents.open_rows(tx, KINDS) if row.kind in GATED and row.key[:2] in by_portion]
    site = services(run.run_id).settings.chargebee_site
    change_set = change_set_hash(decided)
    intents.record(tx, run.run_id, change_set, decided, site, kinds=GATED, keys_decided=unsent)


def _hold(tx: Writer, run: Run, portion: Key, lines: Sequence[Mapping], by: str) -> None:
    """Say that the portion is not charged anew; what an undo before this one took off counts, too."""
    known = mappings.get(tx, "undone", portion)
    before: dict[str, Any] = dict(known.state) if known is not None and known.active else {"lines": ()}
    names = sorted({*before["lines"], *(line.remote_id for line in lines)})
    amounts = {**before.get("amounts", {}), **{line.remote_id: line.state["amount"] for line in lines}}
    state = {"lines": names, "amounts": amounts, "by": by}
    mappings.put(tx, Mapping("undone", portion, "", "", portion[0], state, run_id=run.run_id))
    amount, currency = sum(amounts.values()), lines[0].state["currency"]
    message = f"{amount_text(amount, currency)} of subscription {portion[1]} were taken off by {by}: not charged"
    aside = Quarantined("charge", portion, "MB-UNDONE", message, amount, currency, lines[0].source_version)
    quarantine.put(tx, "sync_bills", aside, run.run_id)
    bills.put_portion(tx, bills.Portion(portion[0], portion[1], currency, amount, "quarantined", message))


def report_undo(run: Run, undoing: Undoing, delivered: Delivered) -> UndoReport:
    """Gather the outcome: a line counts as undone once it is off its invoice."""
    plain = build(run, undoing.change_set, delivered=delivered)
    with services(run.run_id).ledger.read() as rx:
        still = {one.remote_id for one in mappings.all(rx, "charge", active_only=True)}
    return UndoReport(
        **plain.model_dump(),
        undone_run=undoing.run_id,
        undone=[_shown(line) for line in undoing.off if line.remote_id not in still],
        kept=[
            *undoing.kept,
            *(_shown(line, "see what is set aside") for line in undoing.off if line.remote_id in still),
        ],
    )
