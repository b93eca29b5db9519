"""What rules answer with: a closed union of decisions, and the words in which they name things. Frozen and plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Key = tuple[str, ...]
"""A natural key: source ids in a fixed order."""

Kind = Literal[
    "account",
    "account_plan",
    "external_mapping",
    "charge",
    "charge_set",
    "charge_removal",
    "credit",
    "usage",
    "usage_removal",
]
"""What an intent is about; with the natural key it names one thing at the target.

A ``charge_set`` is the lines of a portion that one call books together.
"""

Action = Literal["create", "update", "replace", "delete", "adopt", "net"]
"""How: ``adopt`` takes over a thing that already stands and writes only what differs.

``net`` is a charge that credits of other bills use up whole: known to the ledger, written nowhere.
"""

Target = Literal["m3ter", "chargebee"]


# --- decisions: the closed union a rule returns -------------------------------------


@dataclass(frozen=True, slots=True)
class Ref:
    """A remote id that is known only once another intent is applied."""

    kind: Kind
    key: Key


@dataclass(frozen=True, slots=True)
class Intent:
    """One intended write, before it is recorded.

    ``payload`` holds what the target shall look like, JSON values and
    :class:`Ref` only; ``fingerprint`` is the hash of what must be true at the
    target (equal means nothing to do). ``scope`` names what may have one write
    in flight at a time (an account, an invoice). ``state`` is what the ledger
    shall know of the thing once applied (JSON values). ``amount`` in minor units.
    """

    kind: Kind
    key: Key
    action: Action
    target: Target
    payload: Mapping[str, Any]
    fingerprint: str
    reason: str
    scope: str
    depends_on: tuple[Ref, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    amount: int | None = None
    currency: str | None = None
    source_version: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Why an intent may not leave before a person has approved it: a short word, and a sentence.

    ``follows``: it builds on one that waits, so an approval of its own counts only along with that one's.
    """

    why: Literal["older", "approval", "max_per_bill", "max_total_per_run", "canary", "rebuilt"]
    words: str
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Proposed:
    """What of a run awaits approval, by kind and key; ``change_set`` is the hash that a person approves."""

    change_set: str = ""
    why: Mapping[tuple[str, Key], Proposal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Desired equals known; ``reason`` says why where that is not plain to see."""

    kind: Kind
    key: Key
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """Not ours to sync; counted and listed, never an error.

    ``amount`` (minor units) and ``currency`` are those of a bill that is none of ours.
    """

    kind: Kind
    key: Key
    reason: str
    amount: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Set aside with a reason code out of errors.CODES; ``amount`` in minor units.

    ``surplus`` (minor units) stands too much for good: a later charge may be lowered by it if ``payers``,
    the customers on whose invoices it stands (empty: not known), are that charge's customer alone; ``month`` is its
    bill's, in words.
    ``due``: when an account plan should have ended or started; a later version of its subscription does not move that.
    ``waits_for``: the record that is set aside itself, and that this one builds on.
    """

    kind: Kind
    key: Key
    code: str
    message: str
    amount: int | None = None
    currency: str | None = None
    source_version: int | None = None
    surplus: int = 0
    due: datetime | None = None
    payers: frozenset[str] = frozenset()
    month: str = ""
    waits_for: Ref | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Money that will find its place later; ``amount`` in minor units, until when it is expected."""

    kind: Kind
    key: Key
    reason: str
    amount: int
    currency: str
    until: datetime | None = None


Decision = Intent | Unchanged | OutOfScope | Quarantined | Waiting
