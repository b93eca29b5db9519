"""Portions that somebody else changed while a run decided: an approval that sent them, a person who settled them.

Runs of other deployments may work at the same time. What this run decided from an
earlier state would be charged a second time, so it is left out and decided anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from meterbridge.ledger import bills, intents, mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.gate import GATED
from meterbridge.rules.recall import marks_of
from meterbridge.rules.records import Intent, Key
from meterbridge.staging.database import Staging, opened
from tasks.refer import HORIZON, SLICE_AT
from tasks.runs import Run

LEFT_OUT = "left_out"
"""How many intents of the run were left out because another run had written them: its watermark stays where it is."""

STATES = ("charge", "credit", "settled", "undone")
"""Kinds of mappings that say what stands for a portion, or that it is held."""


def moved_on(rx: Reader, file: Staging) -> set[Key]:
    """Portions (bill, subscription) whose state in the ledger is newer than the run's slice; lands them, too."""
    found = {key for instant in _fact(file, SLICE_AT) for key in _changed(rx, float(instant))}
    horizon = seen(file)
    if horizon is not None:
        # The clock alone does not tell: what was written before the slice may have been committed after it.
        found |= {key[:2] for key in intents.keys_concluded_beyond(rx, horizon, GATED)}
    file.clear("out_moved_on")
    land_moved(file, found)
    return found


def seen(file: Staging) -> intents.Horizon | None:
    """What the run saw of the ledger's intents when it copied its slice."""
    for text in _fact(file, HORIZON):
        last, still_open = json.loads(text)
        return intents.Horizon(last, frozenset(still_open))
    return None


def land_moved(file: Staging, portions: Iterable[Key]) -> None:
    """Note portions that this run leaves to whoever changed them."""
    file.land_rows("out_moved_on", ({"bill_id": bill, "subscription_id": owner} for bill, owner in sorted(portions)))


def _fact(file: Staging, name: str) -> list[str]:
    rows = file.rows("select value from run_facts where name = $name", {"name": name})
    return [row["value"] for row in rows][-1:]


def _changed(rx: Reader, instant: float) -> Iterator[Key]:
    for row in mappings.changed_since(rx, STATES, instant):
        yield row.key[:2]
        for part in row.state.get("carried", ()):
            yield part["bill_id"], part["subscription_id"]
    for portion in bills.settled_since(rx, instant):
        yield portion.bill_id, portion.subscription_id


def still_right(intents: Iterable[Intent], moved: set[Key]) -> Iterator[Intent]:
    """The intents without those of portions that moved on, what builds on these, and marks made for these."""
    gone: set[tuple[str, Key]] = set()
    for intent in intents:
        name = (intent.kind, intent.key)
        late = intent.kind in GATED and intent.key[:2] in moved
        if late or name in gone or any((ref.kind, ref.key) in gone for ref in intent.depends_on):
            gone |= {name, *marks_of([intent], {name})}
        else:
            yield intent


def left_out(run: Run) -> bool:
    """True if another run wrote something that this one had decided: the next run decides it anew."""
    with opened(run.path) as file:
        return any(int(text) for text in _fact(file, LEFT_OUT))
