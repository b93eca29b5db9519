"""The bridge of whichever version this process has installed: driven through what every version keeps.

That is the flows with their parameters and reports, the command line with ``--json``, and the settings.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from connectors.chargebee import webhooks
from meterbridge.cli.main import app
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.exact_json import dumps
from meterbridge.settings import load_settings, use_environment
from tests.compare.writes import Chance, Harm, Killed, Tap, dying
from tests.connected import environment

ONE_AT_A_TIME = {"METERBRIDGE_DELIVER_THREADS": "1"}
"""So that a process that is killed at a write has done the same before it, in each play."""

HARMS: Sequence[tuple[Mapping[str, Any], bool]] = (
    ({"harm": "commit_then_drop"}, False),
    ({"harm": "commit_then_drop"}, True),
    ({"harm": "error_after_commit"}, True),
    ({"harm": "html_503", "committed": True}, True),
    ({"harm": "html_503"}, True),
    ({"harm": "status_429", "retry_after": 0}, False),
    ({"harm": "status_503"}, True),
    ({"harm": "truncate"}, True),
)
"""What a run can suffer at the writes that the dice choose, and whether it lasts as long as the run does."""

WAYS = ("sound", "sound", "struck", "killed")
STRUCK, DYING = 0.25, 0.15
"""The share of the writes that are struck in a run, or at which it dies."""


class Bridge:
    """One home with a ledger, connected to one sandbox; ``told`` is all that runs and commands said of records."""

    def __init__(self, sandbox: Sandbox, home: Path, settings: Mapping[str, str]) -> None:
        self.sandbox, self.world, self.home = sandbox, sandbox.world, home
        self.tap = Tap(sandbox)
        self.told: set[str] = set()
        self.notes: list[str] = []
        self.charging_runs: list[str] = []
        self.runs = 0
        self._heard: set[str] = set()
        home.mkdir(parents=True, exist_ok=True)
        self._use(environment(sandbox, home, **ONE_AT_A_TIME), settings)

    def _use(self, given: dict[str, str], settings: Mapping[str, str]) -> None:
        """Take the settings that this version has; of those that it does not know, or no more, leave a note."""
        for name, value in settings.items():
            use_environment({**given, name: value})
            try:
                load_settings()
            except MeterbridgeError as refusal:
                self.notes.append(f"played without {name}={value}: {refusal.message}")
            else:
                given = {**given, name: value}
        use_environment(given)
        load_settings()

    # --- flows

    def run(self, flow: str, *given: Any, **how: Any) -> dict[str, Any]:
        """The report of a run that nothing happens to; empty where there was nothing to do or an error ended it."""
        return self.harmed(flow, None, *given, **how)

    def disturbed(self, flow: str, dice: str, ways: Sequence[str] = WAYS, **how: Any) -> None:
        """Run in one of these ways, as the dice say."""
        chosen = random.Random(dice)
        way, (fault, lasting), after = chosen.choice(ways), chosen.choice(HARMS), chosen.random() < 0.6
        if way == "struck":
            self.harmed(flow, Harm(fault, Chance(dice, STRUCK, lasting=lasting)), **how)
        elif way == "killed":
            with dying(Chance(dice, DYING), after=after):
                self.harmed(flow, None, **how)
            self.expire_leases()
        else:
            self.harmed(flow, None, **how)

    def harmed(self, flow: str, harm: Harm | None, *given: Any, **how: Any) -> dict[str, Any]:
        """The report of a run of which the chosen writes suffer a harm."""
        self.runs += 1
        self.world.log.clear()
        body = getattr(importlib.import_module(f"flows.{flow}"), flow)
        try:
            with self.tap.running(harm):
                answered = body.fn(*given, **how)
        except Killed:
            return {}
        except MeterbridgeError as failure:
            self.told.add(f"{flow} ends with {failure.code}")
            return {}
        report: dict[str, Any] = {} if answered is None else answered.model_dump(mode="json")
        self.told.update(said(flow, report))
        if flow == "sync_bills" and any(name.startswith("charge") for name in report.get("applied", {})):
            self.charging_runs.append(report["flow_run_id"])
        return report

    def expire_leases(self) -> None:
        """Minutes pass for whoever died: every lease of the ledger has run out."""
        for file in self.home.glob("*.sqlite3"):
            with sqlite3.connect(file, timeout=10) as database:
                names = database.execute(
                    "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE c.name = 'lease_until'"
                )
                for (table,) in names.fetchall():
                    database.execute(f'UPDATE "{table}" SET lease_until = 1 WHERE lease_until IS NOT NULL')
            database.close()

    def hear(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Webhooks of Chargebee's events come to the inbox, each once."""
        new = [event for event in events if event["id"] not in self._heard]
        self._heard.update(event["id"] for event in new)
        opened = Ledger.open(os.environ.get("METERBRIDGE_LEDGER_URL"), home=self.home, connection="default")
        with opened.write() as tx:
            inbox.put_all(tx, [inbox.Event("chargebee", **asdict(webhooks.parse(dumps(one)))) for one in new])
            tx.commit()
        opened.close()

    def lose_ledger(self) -> None:
        """All that the bridge knew is gone, on another machine: the home is empty."""
        self.home = self.home.with_name(f"{self.home.name}-again")
        self.home.mkdir()
        os.environ.update({"METERBRIDGE_HOME": str(self.home)})

    # --- commands

    def command(self, *words: str) -> Any:
        """What a command prints with ``--json``; None where it is refused, which is told."""
        done = CliRunner().invoke(app, [*words, "--json"])
        if isinstance(done.exception, MeterbridgeError):
            self.told.add(f"{' '.join(words[:2])} is refused with {done.exception.code}")
            return None
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.stdout)

    def set_aside(self) -> list[dict[str, Any]]:
        """Records with an amount that are set aside and that nobody has closed."""
        listed = self.command("quarantine", "list")
        return [row for row in listed["quarantined"] if row["amount"] is not None] if listed else []

    def awaiting(self) -> list[str]:
        """The change sets that wait for an approval, the oldest first."""
        listed = self.command("quarantine", "list")
        return list(dict.fromkeys(row["change_set"] for row in listed["awaiting_approval"])) if listed else []


def said(flow: str, report: Mapping[str, Any]) -> Iterable[str]:
    """What a report tells of records, one text each: code, record, amount."""
    for row in report.get("quarantined", ()):
        money = f" {row['amount']} {row.get('currency')}" if row.get("amount") is not None else ""
        yield f"{flow} sets aside {row['code']} {row['kind']} {json.dumps(row['key'])}{money}"
    for row in report.get("waiting", ()):
        yield f"{flow} lets wait {json.dumps(row['key'])} {row.get('amount')} {row.get('currency')}"
    for row in report.get("drift", ()):
        yield f"{flow} finds drift {json.dumps(row, sort_keys=True)}"
