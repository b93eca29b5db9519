"""Every kind of write, once: whose vendor it goes to, in which jobs, in which order, and whether it moves money.

A new kind is a row here, its name in :data:`meterbridge.rules.decisions.Kind`, and a class that says how it is looked
for, sent and read (``tasks/deliver.py`` names it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meterbridge.rules.decisions import Kind, Target

Job = Literal["subscriptions", "bills", "undo", "links", "usage"]
"""What a run delivers."""

NETTED_SCOPE = "netted:"
"""How the scope of every mark begins: those that charges wait for go out before these."""


@dataclass(frozen=True, slots=True)
class KindOfWrite:
    """One row.

    Args:
        kind: Its name.
        target: The vendor that it is written to.
        jobs: The jobs that deliver it.
        moves_money: True if it changes what a customer is charged: the gate asks about it.
        early: Rows whose scope begins so go out before all other kinds.
    """

    kind: Kind
    target: Target
    jobs: tuple[Job, ...]
    moves_money: bool = False
    early: str = ""


KINDS_OF_WRITE = (
    KindOfWrite("account", "m3ter", ("subscriptions",)),
    KindOfWrite("account_plan", "m3ter", ("subscriptions",)),
    KindOfWrite("charge_removal", "chargebee", ("bills", "undo"), moves_money=True),
    KindOfWrite("credit", "chargebee", ("bills",), moves_money=True),
    KindOfWrite("charge", "chargebee", ("bills",), moves_money=True),
    KindOfWrite("charge_set", "chargebee", ("bills",), moves_money=True),
    KindOfWrite("external_mapping", "m3ter", ("subscriptions", "bills", "undo", "links"), early=NETTED_SCOPE),
    KindOfWrite("usage_removal", "chargebee", ("usage",)),
    KindOfWrite("usage", "chargebee", ("usage",)),
)
"""In the order in which they go out: later ones build on earlier ones, and what needs room on what makes it."""

MONEY: tuple[Kind, ...] = tuple(one.kind for one in KINDS_OF_WRITE if one.moves_money)
"""Kinds that move money at Chargebee."""


def moves_money(kind: str, action: str) -> bool:
    """True if such a write moves money; what is taken over stood before."""
    return kind in MONEY and action != "adopt"


@dataclass(frozen=True, slots=True)
class Wave:
    """Rows that go out together. ``scopes``: only those whose scope begins so, before the rest of their kind."""

    target: Target
    kind: Kind
    scopes: str = ""


def kinds_of(job: Job) -> tuple[Kind, ...]:
    """The kinds of a job, in their order."""
    return tuple(one.kind for one in KINDS_OF_WRITE if job in one.jobs)


def waves(job: Job) -> tuple[Wave, ...]:
    """What a job delivers, in order. What goes early goes early only where charges wait for it."""
    rows = [one for one in KINDS_OF_WRITE if job in one.jobs]
    early = [Wave(one.target, one.kind, one.early) for one in rows if one.early and "charge" in kinds_of(job)]
    return (*early, *(Wave(one.target, one.kind) for one in rows))
