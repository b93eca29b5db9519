"""How far the ledger can be trusted to know what it wrote: the note beside it, and where it is.

A ledger that lacks a run of this home's note is older than the world, and nothing is charged from it. One that this
home cannot vouch for (it has no note, the ledger is in another place, another host wrote last) is used, but before a
positive amount leaves what stands at both vendors is looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from meterbridge.errors import SetupError
from meterbridge.ledger import holds, identity, intents, money_runs, runs
from meterbridge.ledger.ledger import Ledger
from meterbridge.ledger.note import Note, Noted, new_home
from meterbridge.rules.gate import GATED
from meterbridge.settings import Settings

if TYPE_CHECKING:
    from tasks.services import Services

logger = logging.getLogger(__name__)

MONEY_FLOWS = ("sync_bills", "approve_bills", "undo_run")
"""Flows that charge, or take charges back."""

REBUILD = "rebuild_ledger"
"""The flow that takes over what stands at the vendors: to it every bill is new."""

State = Literal["proven", "another_host", "unproven", "behind", "copy"]


@dataclass(frozen=True, slots=True)
class Trust:
    """What to think of the ledger, and why in words; ``missing`` are runs of the note that it lacks."""

    state: State
    why: str = ""
    missing: tuple[str, ...] = ()

    @property
    def doubt(self) -> str:
        """Why what stands is to be looked for before a positive amount leaves; empty where it need not be."""
        return "" if self.state == "proven" else self.why

    @property
    def compares_all(self) -> bool:
        """True if nobody knows what the ledger lacks: then every bill is compared, not only those that changed."""
        return self.state in ("unproven", "copy")

    @property
    def code(self) -> str:
        """Under which code a person is told of it; empty where there is nothing to tell."""
        return {"behind": "MB-LEDGER-BEHIND", "copy": "MB-LEDGER-COPY"}.get(self.state, "")


def note_of(settings: Settings) -> Note:
    """The note of this environment's home and connection."""
    return Note(settings.home, settings.connection)


def examine(settings: Settings, ledger: Ledger) -> Trust:
    """Compare the ledger with the note of this home and with where it was; asks no vendor."""
    noted = note_of(settings).read()
    with ledger.read() as rx:
        missing = money_runs.missing(rx, noted.runs)
        original = identity.original(rx, ledger.path)
        here, newest = identity.of(rx, ledger.path), money_runs.newest(rx)
    if missing:
        return _behind(ledger, noted, missing)
    if original is not None:
        return Trust("copy", f"the ledger {ledger.url_text} is a copy of {original}, which is still there")
    if not noted.home:
        return Trust("unproven", "this home has no note of its own of what was written by the ledger")
    if not noted.proven or noted.ledger != here:
        return Trust("unproven", "the ledger is not the one that this home last worked with, or not in its place")
    if newest is not None and newest.home != noted.home:
        return Trust("another_host", f"run {newest.run_id}, of another host, was the last to write money")
    return Trust("proven")


def _behind(ledger: Ledger, noted: Noted, missing: Collection[str]) -> Trust:
    lost = len(missing) == len(noted.runs)
    what = "knows none of the runs" if lost else f"lacks {len(missing)} of the runs"
    named = ", ".join([*missing][-3:])
    words = f"the ledger {ledger.url_text} {what} that this home noted as having written money (newest: {named})"
    return Trust("behind", words, tuple(missing))


def require(settings: Settings, ledger: Ledger, flow: str) -> Trust:
    """Find out how far the ledger can be trusted, before a flow that moves money reads anything.

    Raises:
        SetupError: MB-LEDGER-BEHIND, it lacks runs of the note.
    """
    trust = examine(settings, ledger)
    if flow == REBUILD:
        return Trust("unproven", trust.why or "the ledger is rebuilt")
    if flow in MONEY_FLOWS and trust.state == "behind":
        raise SetupError(trust.code, trust.why)
    if flow in MONEY_FLOWS and trust.doubt:
        logger.warning("what stands is looked for at both vendors first", extra={"reason": trust.doubt})
    return trust


def notices(settings: Settings, ledger: Ledger) -> list[dict[str, str]]:
    """What everybody who looks at a run must know, as code and message: holds in force, a ledger that is no good."""
    trust = examine(settings, ledger)
    with ledger.read() as rx:
        found = [{"code": "MB-ON-HOLD", "message": one.words} for one in holds.active(rx)]
        is_empty = not runs.recent(rx, limit=1)
    if trust.code:
        found.append({"code": trust.code, "message": trust.why})
    elif is_empty and (left := staging_files(settings)):
        words = f"the ledger {ledger.url_text} is empty, although {len(left)} runs left staging files: was it lost?"
        found.append({"code": "MB-LEDGER-BEHIND", "message": words})
    return found


def vouch(work: Services, run_id: str) -> None:
    """Note a run that is about to write money: in the ledger first, then beside it. Once a run."""
    note = note_of(work.settings)
    noted = note.read()
    if run_id in noted.runs:
        return
    home = noted.home or new_home()
    with work.ledger.write() as tx:
        sets = intents.change_sets(tx, run_id, GATED)
        change_set, writes = max(sets, key=lambda name: sets[name], default=""), sum(sets.values())
        before = identity.of(tx, work.ledger.path)
        money_runs.put(tx, run_id, home, change_set, writes)
        here = identity.settle(tx, work.ledger.path)
        tx.commit()
    proven = noted.proven and noted.ledger == before
    note.append("money", run_id, here, home=home, proven=proven, change_set=change_set, writes=writes)


def prove(work: Services, run_id: str) -> None:
    """Note that everything that stands was compared with the ledger by a run that saw all of it."""
    note = note_of(work.settings)
    noted = note.read()
    with work.ledger.write() as tx:
        here = identity.settle(tx, work.ledger.path)
        tx.commit()
    if not (noted.proven and noted.ledger == here):
        note.append("proven", run_id, here, home=noted.home or new_home(), proven=True)


def staging_files(settings: Settings) -> list[Path]:
    """What earlier runs of this connection left behind in this home."""
    folder = settings.home.expanduser().absolute() / settings.connection / "staging"
    return sorted(folder.glob("*/*.duckdb"))
