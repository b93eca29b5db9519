"""Plays a case on the sandbox, by schedule or by webhook, and says what is wrong in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from connectors.m3ter import webhooks as m3ter_webhooks
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import inbox, proposals
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.exact_json import dumps
from tests.histories.bridge import Bridge
from tests.histories.people import People
from tests.histories.quick import quick
from tests.money_law import Watch, watching
from tests.practice.case import Case, CaseError, Step
from tests.practice.deeds import ACTS
from tests.practice.scene import make_world, write_catalog
from tests.practice.stands import stands
from tests.practice.words import instant

Way = Literal["schedule", "webhook"]
WAYS: tuple[Way, ...] = ("schedule", "webhook")
LISTS = ("accounts", "account_plans", "unbilled", "credits")


class Play:
    """A case under way; ``wrong`` is what must not be, ``last`` the newest report of each flow.

    ``failed`` are the codes of flows whose last run ended with an error.
    ``bill_lines`` are the ends of bills by the ids of all lines that they ever had.
    """

    def __init__(self, case: Case, way: Way, home: Path) -> None:
        self.case, self.way, self.home = case, way, home
        self.world = make_world(case)
        self.wrong: list[str] = []
        self.last: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self.said: list[str] = []
        self.counted = 0
        self.bill_lines: dict[str, str] = {}
        self._told: set[str] = set()

    def through(self) -> Play:
        """All steps in their order; what stands in the end is held against what the case says."""
        before = dict(os.environ)
        settings = {name: str(value) for name, value in self.case.part("settings").items()}
        settings["METERBRIDGE_CATALOG"] = str(write_catalog(self.home, self.case.part("catalog")))
        try:
            with quick(), Sandbox(self.world) as sandbox:
                self.people = People(sandbox)
                self.bridge = Bridge(sandbox, self.home, settings)
                with watching(Watch(self.world, self.bridge.ledger, self.wrong)):
                    for step in self.case.steps:
                        self._do(step)
                    self._reconcile()
                self.people.close()
        finally:
            os.environ.clear()
            os.environ.update(before)
        return self

    def _do(self, step: Step) -> None:
        self.world.advance_to(step.at)
        for deed in step.deeds:
            try:
                ACTS[deed.name](self, deed.said)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CaseError(f"{self.case.path.name}:{deed.line}: {type(error).__name__}: {error}") from error
            for bill in self.world.m3ter.bills.rows():
                self.bill_lines.update((line["id"], bill["endDate"]) for line in bill["lineItems"])

    def _reconcile(self) -> None:
        with suppress(MeterbridgeError):
            self.last["reconcile"] = self.bridge.run("reconcile")

    # --- the bridge

    def run_bridge(self, *, full: bool) -> None:
        """Webhooks where they come, then the schedule; and all again, which must write nothing.

        Where webhooks come it is run again in the last step alone, after all that they have told.
        """
        if self.way == "webhook":
            self.drain()
            self.world.advance(1)  # what ended "now" has ended for the run after it
        self._scheduled(full=full)
        if self.way == "webhook" and self.world.clock.now() < self.case.steps[-1].at:
            return
        self.world.advance(1)
        self._scheduled(full=full)
        wrote = dict(self.wrote)
        if self.way == "webhook":
            self.drain()
            wrote["inbox"] = self.bridge.writes()
        self.wrong += [f"{self._now()}: run again, {flow} writes {writes}" for flow, writes in wrote.items() if writes]

    def _scheduled(self, *, full: bool) -> None:
        self.wrote: dict[str, list[str]] = {}
        for flow in ("subscriptions", "bills"):
            self.failed.pop(flow, None)
            try:
                self.last[flow] = self.bridge.run(flow, **({"full": True} if full else {}))
            except MeterbridgeError as failure:
                self.failed[flow] = failure.code
                self.said.append(failure.message)
            self.wrote[flow] = self.bridge.writes()
            if flow not in self.last:
                continue
            self.said += [row["message"] for row in self.last[flow].quarantined] + self.last[flow].notes
            self.said += [row["reason"] for row in self.last[flow].waiting]

    def drain(self) -> None:
        """Everything that happened at the vendors since arrives as webhooks and is drained."""
        self.bridge.hear(lambda _event: 1)
        with self.bridge.ledger() as ledger, ledger.write() as tx:
            for event in list(self.world.m3ter.events.rows()):
                if event["id"] not in self._told and event["eventName"] == m3ter_webhooks.BILL_EVENT:
                    self._told.add(event["id"])
                    inbox.put(tx, inbox.Event("m3ter", **asdict(m3ter_webhooks.parse(dumps(event)))))
            tx.commit()
        for source in ("chargebee", "m3ter"):
            with suppress(MeterbridgeError):  # as at the schedule's run, which tells it
                while self.bridge.run("inbox", source=source) is not None:
                    pass

    def proposed(self) -> list[str]:
        """The change sets that await an approval."""
        with self.bridge.ledger() as ledger, ledger.read() as rx:
            return list(dict.fromkeys(one.change_set for one in proposals.awaiting(rx)))

    def _now(self) -> str:
        return instant(self.world.clock.now())

    # --- what stands

    def complaints(self) -> Iterator[str]:
        """Return complaints: an end other than the case's, a broken law of money, a second write."""
        yield from self.wrong
        found, wanted = stands(self), self.case.part("in_the_end")
        for name in LISTS:
            rows = wanted.get(name) or []
            yield from differing(name, sorted(rows) if isinstance(rows, list) else rows, found[name])
        yield from differing("mappings", dict(sorted((wanted.get("mappings") or {}).items())), found["mappings"])
        invoices = {name: sorted(rows) for name, rows in (wanted.get("invoices") or {}).items()}
        yield from differing("invoices", dict(sorted(invoices.items())), found["invoices"])
        yield from self._of_the_report(wanted.get("report") or {}, found["report"])
        texts = [line["description"] for row in self.world.chargebee.invoices.rows() for line in row["line_items"]]
        for said in wanted.get("invoices_say") or ():
            if not any(said in text for text in texts):
                yield f"no invoice says {said!r}"

    def _of_the_report(self, wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
        usual: dict[str, Any] = {
            "exit_code": 0,
            "set_aside": [],
            "waiting": [],
            "awaiting_approval": 0,
            "differences": 0,
        }
        for name, value in usual.items():
            said = wanted.get(name, value)
            yield from differing(f"report: {name}", sorted(said) if isinstance(said, list) else said, found[name])
        for said in wanted.get("says") or ():
            if not any(said in text for text in self.said):
                yield f"no report says {said!r}; they say {sorted(set(self.said))}"
        for flow in ("subscriptions", "bills"):
            for name, value in (wanted.get(flow) or {}).items():
                yield from differing(f"report of {flow}: {name}", value, getattr(self.last[flow], name))


def differing(name: str, wanted: Any, found: Any) -> Iterator[str]:
    """Return the rows that are missing and those that are there instead; a number says how many rows there are."""
    if wanted == found or (isinstance(wanted, int) and isinstance(found, list) and wanted == len(found)):
        return
    if isinstance(wanted, list) and isinstance(found, list):
        yield from (f"{name}: missing {one!r}" for one in wanted if one not in found)
        yield from (f"{name}: unexpected {one!r}" for one in found if one not in wanted)
        if set(map(str, wanted)) == set(map(str, found)):
            yield f"{name}: {wanted} expected, {found} found"
    elif isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}):
            yield from differing(f"{name}, {key}", wanted.get(key), found.get(key))
    else:
        yield f"{name}: {wanted!r} expected, {found!r} found"
