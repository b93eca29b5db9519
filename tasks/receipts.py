"""What a batch did, small enough for Prefect to carry."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import intents, quarantine
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.kinds import moves_money
from meterbridge.rules.plan_intents import due_of
from meterbridge.rules.records import Kind, Quarantined
from tasks.runs import Run


def kind_of(row: IntentRow) -> Kind:
    """The row's kind as the rules type it: the ledger holds only kinds that they gave it."""
    return cast(Kind, row.kind)


@dataclass(slots=True)
class Receipt:
    """Counts of one batch; ``refused`` has what the report shows of each record set aside.

    ``moved`` is the money that was put on invoices or taken off, in minor units by currency.
    ``concluded`` counts rows that are done with: a batch that concludes none must not be tried again at once.
    ``notes`` tell what stands otherwise than was asked for.
    """

    claimed: int = 0
    concluded: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def took(self, row: IntentRow) -> None:
        """Count a write that stands. What is taken over stood before: it moves no money."""
        self.applied[f"{row.kind}.{row.action}"] += 1
        if moves_money(row.kind, row.action) and row.amount is not None:
            self.moved[row.currency or ""] += row.amount

    def set_aside(self, tx: Writer, run: Run, row: IntentRow, failure: MeterbridgeError) -> bool:
        """Close the intent as refused and put its record into quarantine, in the caller's transaction.

        False if another run has taken the row over.
        """
        if not intents.refused(tx, row.id, run.run_id, failure.code, failure.message):
            return False
        self.concluded += 1
        due = due_of(row.kind, row.action, row.payload, row.wanted)
        money = (row.amount, row.currency)
        aside = Quarantined(kind_of(row), row.key, failure.code, failure.message, *money, row.source_version, due=due)
        quarantine.put(tx, run.flow, aside, run.run_id)
        self.refused.append(as_shown(aside))
        return True


def as_shown(aside: Quarantined) -> dict[str, Any]:
    """A record set aside, as reports show it."""
    shown: dict[str, Any] = {"key": list(aside.key), "kind": aside.kind, "code": aside.code, "message": aside.message}
    if aside.amount is not None:
        shown |= {"amount": aside.amount, "currency": aside.currency}
    if aside.waits_for is not None:
        shown["waits_for"] = [aside.waits_for.kind, *aside.waits_for.key]
    return shown
