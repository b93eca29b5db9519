"""Customers linked to accounts that were there before us, as a person's file says; or taken off them again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from meterbridge.ledger import intents, mappings, quarantine
from meterbridge.rules.kinds import waves
from meterbridge.rules.links import Judged, judge, link_intents
from meterbridge.rules.outcome import Concern, count_of
from meterbridge.rules.records import Quarantined
from meterbridge.staging.database import opened
from tasks.change_set import ChangeSet, Tray, land, record
from tasks.decide_subscriptions import KINDS, subject
from tasks.deliver import Delivered
from tasks.engine import task
from tasks.link_facts import link_facts, plans_on
from tasks.link_file import read_links
from tasks.refer import note_slice
from tasks.report import RunReport, build
from tasks.runs import Run
from tasks.services import services
from tasks.similar import TWIN

logger = logging.getLogger(__name__)

LINK_WAVES = waves("links")


@dataclass(frozen=True, slots=True)
class Linking:
    """What a file asks for, judged line by line, and the writes of what was not refused."""

    file: str
    remove: bool
    judged: tuple[Judged, ...]
    change_set: ChangeSet


class LinkReport(RunReport):
    """What became of a file of links, as ``--json`` prints it: ids and codes only.

    ``linked`` (or ``unlinked``) are pairs that stand so now, or would after a dry run; ``as_it_was``
    counts lines that asked for nothing new; ``refused`` are lines that contradict, with why.
    """

    file: str = ""
    linked: list[dict[str, Any]] = Field(default_factory=list)
    unlinked: list[dict[str, Any]] = Field(default_factory=list)
    as_it_was: int = 0
    refused: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def concerns(self) -> list[Concern]:
        """Lines that were refused, before all else."""
        if not self.refused:
            return super().concerns
        return [Concern("Set aside", f"{count_of(len(self.refused), 'line')} of the file refused"), *super().concerns]


@task(name="decide links")
def decide_links(run: Run, path: str, *, remove: bool) -> Linking:
    """Hold the file against both vendors and the ledger."""
    work = services(run.run_id)
    lines = read_links(Path(path))
    with opened(run.path) as file, work.ledger.read() as rx:
        note_slice(rx, file)  # a sync that writes for one of these customers meanwhile goes first
    facts = link_facts(work, lines)
    judged = judge(lines, facts, remove=remove)
    tray = Tray({})
    for intent in link_intents(judged, facts, remove=remove):
        tray.put(intent)
    with opened(run.path) as file:
        change_set = land(file, tray, ())
    logger.info("links decided", extra={"run_id": run.run_id, "count": len(judged), "writes": change_set.writes})
    return Linking(path, remove, tuple(judged), change_set)


def record_links(run: Run, linking: Linking) -> int:
    """Write the mappings down; who is taken off an account has none by the ledger from then on."""
    recorded = record(run, linking.change_set, ("external_mapping",), subject)
    if linking.remove:  # after what is taken off was written down: a run stopped in between is repeated as a whole
        _let_go(run, [one for one in linking.judged if not one.refusal and not one.standing])
    return recorded


@task(name="let accounts go")
def _let_go(run: Run, judged: Sequence[Judged]) -> None:
    """Make what the ledger knows of the customers' accounts and account plans history, and take back what is unsent."""
    work = services(run.run_id)
    with work.ledger.write() as tx:
        customers = {one.line.customer_id: one.account.id for one in judged if one.account is not None}
        for customer_id, account_id in customers.items():
            for key, _ in plans_on(tx, customer_id, account_id):
                mappings.deactivate(tx, "account_plan", key)
            message = f"customer {customer_id} was taken off account {account_id} by a person"
            # The next run decides the customer anew, whether it changed or not.
            quarantine.put(tx, run.flow, Quarantined("account", (customer_id,), TWIN, message), run.run_id)
            known = mappings.get(tx, "account", (customer_id,))
            if known is not None and known.remote_id == account_id:
                mappings.deactivate(tx, "account", (customer_id,))
        scopes = {f"account:{one}" for one in customers}
        others = (row for row in intents.open_rows(tx, KINDS) if row.run_id != run.run_id)
        unsent = [row.key for row in others if row.scope in scopes]
        site = work.settings.chargebee_site
        intents.record(tx, run.run_id, "", [], site, kinds=KINDS, keys_decided=unsent)
        tx.commit()


def report_links(run: Run, linking: Linking, delivered: Delivered | None) -> LinkReport:
    """Gather the outcome: a pair counts once its mapping stands, or is gone."""
    plain = build(run, linking.change_set, delivered=delivered)
    with services(run.run_id).ledger.read() as rx:
        standing = mappings.remote_ids(
            rx, [("external_mapping", ("Account", one.line.customer_id)) for one in linking.judged]
        )
    done, refused = [], []
    for one in linking.judged:
        row = _shown(one)
        stands = ("external_mapping", ("Account", one.line.customer_id)) in standing
        if one.refusal:
            refused.append({**row, "line": one.line.number, "code": "MB-LINK", "message": one.refusal})
        elif not one.standing and (delivered is None or stands is not linking.remove):
            done.append(row)
    return LinkReport(
        **plain.model_dump(),
        file=linking.file,
        **{"unlinked" if linking.remove else "linked": done},
        as_it_was=sum(one.standing for one in linking.judged),
        refused=refused,
    )


def _shown(one: Judged) -> dict[str, Any]:
    account_id = one.line.account_id if one.account is None else one.account.id
    code = one.line.account_code if one.account is None else one.account.code
    return {"customer_id": one.line.customer_id, "account_id": account_id, "account_code": code}
