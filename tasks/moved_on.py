"""Portions that somebody else changed while a run decided: an approval that sent them, a person who settled them.

Runs of other deployments may work at the same time. What this run decided from an
earlier state would be charged a second time, so it is left out and decided anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meterbridge.ledger import bills, mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.gate import GATED
from meterbridge.rules.records import Intent, Key
from meterbridge.staging.database import Staging
from tasks.refer import SLICE_AT

STATES = ("charge", "credit", "settled", "undone")
"""Kinds of mappings that say what stands for a portion, or that it is held."""


def moved_on(rx: Reader, file: Staging) -> set[Key]:
    """Portions (bill, subscription) whose state in the ledger is newer than the run's slice; lands them, too."""
    found = {key for instant in _slice_at(file) for key in _changed(rx, instant)}
    file.clear("out_moved_on")
    file.land_rows("out_moved_on", ({"bill_id": bill, "subscription_id": owner} for bill, owner in sorted(found)))
    return found


def _slice_at(file: Staging) -> list[float]:
    rows = file.rows("select value from run_facts where name = $name", {"name": SLICE_AT})
    return [float(row["value"]) for row in rows][-1:]


def _changed(rx: Reader, instant: float) -> Iterator[Key]:
    for row in mappings.changed_since(rx, STATES, instant):
        yield row.key[:2]
        for part in row.state.get("carried", ()):
            yield part["bill_id"], part["subscription_id"]
    for portion in bills.settled_since(rx, instant):
        yield portion.bill_id, portion.subscription_id


def still_right(intents: Iterable[Intent], moved: set[Key]) -> Iterator[Intent]:
    """The intents without those of portions that moved on, and without what builds on these."""
    gone: set[tuple[str, Key]] = set()
    for intent in intents:
        late = intent.kind in GATED and intent.key[:2] in moved
        if late or any((ref.kind, ref.key) in gone for ref in intent.depends_on):
            gone.add((intent.kind, intent.key))
        else:
            yield intent
