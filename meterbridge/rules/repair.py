"""Which records a sync has to decide anew so that a difference ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meterbridge.rules.foreign_edits import CODE as FOREIGN_EDIT


@dataclass(frozen=True, slots=True)
class Repairs:
    """Ids for ``sync_subscriptions`` and ``sync_bills``, each once, in the order in which they differ."""

    subscriptions: tuple[str, ...]
    bills: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.subscriptions or self.bills)


def repairs(drift: Iterable[Mapping[str, Any]], explained: Iterable[Mapping[str, Any]]) -> Repairs:
    """Choose what to ask of the syncs: all drift, and edits by hand that wait for a person.

    An account plan that belongs to no subscription is left out: no sync knows of it.

    Args:
        drift: Rows of a comparison: ``key`` begins with the bill where ``currency`` is set, else with the subscription.
        explained: Rows that are known already, with ``why`` and ``code``.
    """
    told = (row for row in explained if row["code"] == FOREIGN_EDIT and row["why"] == "quarantined")
    subscriptions: dict[str, None] = {}
    bills: dict[str, None] = {}
    for row in (*drift, *told):
        name = str(row["key"][0])
        if name:
            (subscriptions if row["currency"] is None else bills)[name] = None
    return Repairs(tuple(subscriptions), tuple(bills))
