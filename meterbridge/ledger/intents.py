"""Intended writes: written down before they are sent, claimed by one sender, closed with what became of them.

    proposed ──► ready ──► sending ──► applied | refused | unknown          also: superseded, dismissed

The family's functions under one name; they live in ``intent_record`` (write a change
set down), ``intent_claims`` (who may send), ``intent_outcomes`` (before and after a
request) and ``intent_rows`` (look).
"""

from __future__ import annotations

from meterbridge.ledger.intent_claims import LEASE_SECONDS, claim, renew, stale
from meterbridge.ledger.intent_outcomes import (
    Applied,
    applied,
    apply_many,
    mark_sending,
    mark_sending_many,
    reattempt,
    refused,
    release,
    supersede,
    unknown,
    unsent,
)
from meterbridge.ledger.intent_record import Recorded, approve, dismiss, record
from meterbridge.ledger.intent_rows import (
    Horizon,
    IntentRow,
    IntentState,
    any_to_conclude,
    by_key,
    change_sets,
    concluded_beyond,
    get,
    history,
    horizon,
    keys_concluded_beyond,
    leased,
    may_have_written,
    of_run,
    open_rows,
    open_within,
    ready_counts,
    refused_rows,
)

__all__ = [
    "LEASE_SECONDS",
    "Applied",
    "Horizon",
    "IntentRow",
    "IntentState",
    "Recorded",
    "any_to_conclude",
    "applied",
    "apply_many",
    "approve",
    "by_key",
    "change_sets",
    "claim",
    "concluded_beyond",
    "dismiss",
    "get",
    "history",
    "horizon",
    "keys_concluded_beyond",
    "leased",
    "mark_sending",
    "mark_sending_many",
    "may_have_written",
    "of_run",
    "open_rows",
    "open_within",
    "ready_counts",
    "reattempt",
    "record",
    "refused",
    "refused_rows",
    "release",
    "renew",
    "stale",
    "supersede",
    "unknown",
    "unsent",
]
