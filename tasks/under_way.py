"""Writes of ours that may stand at m3ter although a run's slice of the ledger does not show them.

m3ter does not say who changed a thing. What such a write could have made or changed is therefore neither a
stranger's nor a person's edit: its outcome comes first, a later look tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meterbridge.ledger import intents
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.keys import coded
from meterbridge.rules.records import Key
from meterbridge.staging.database import Staging
from tasks.moved_on import seen

KINDS = ("account", "account_plan")


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Writes in ``sending`` or ``unknown``, or concluded since the slice was copied."""

    rows: tuple[IntentRow, ...]

    @classmethod
    def read(cls, rx: Reader, file: Staging) -> UnderWay:
        """As of now; to be read after m3ter, so that whatever m3ter showed of ours is in it or in the slice."""
        return cls(tuple(intents.may_have_written(rx, KINDS, seen(file))))

    @property
    def names(self) -> frozenset[tuple[str, Key]]:
        """Kinds and natural keys of what they change: the thing itself, and what they end in the same breath."""
        return frozenset(name for row in self.rows for name in _changes(row))

    def made(self, prefix: str) -> Mapping[str, Key]:
        """Natural keys of the account plans they start, by the code that only we give; ``prefix`` stands before it."""
        plans = (row for row in self.rows if row.kind == "account_plan" and "code" in row.payload)
        return {coded(prefix, row.payload["code"]): row.key for row in plans}

    def items(self) -> Iterator[tuple[IntentRow, frozenset[Key]]]:
        """Each write to account plans, with the items (subscription, item price) that may stand otherwise by it."""
        for row in self.rows:
            if row.kind == "account_plan":
                yield row, frozenset(key[:2] for _, key in _changes(row))


def _changes(row: IntentRow) -> Iterator[tuple[str, Key]]:
    yield row.kind, row.key
    for key in row.wanted.get("replaces", ()):
        yield row.kind, tuple(key)
