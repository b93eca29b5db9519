"""Every kind of write, once: its vendor, its payload, in which jobs, in which order, and whether it moves money.

A new kind is a row here, its name in :data:`meterbridge.rules.decisions.Kind`, the shape of its payload in
``payloads.py``, and a class that says how it is looked for, sent and read (``tasks/deliver.py`` names it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meterbridge.rules import payloads
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
        payload: What it holds; the ledger records nothing else.
        jobs: The jobs that deliver it.
        moves_money: True if it changes what a customer is charged: the gate asks about it.
        early: Rows whose scope begins so go out before all other kinds.
    """

    kind: Kind
    target: Target
    payload: type
    jobs: tuple[Job, ...]
    moves_money: bool = False
    early: str = ""


KINDS_OF_WRITE = (
    KindOfWrite("account", "m3ter", payloads.Account, ("subscriptions",)),
    KindOfWrite("account_plan", "m3ter", payloads.AccountPlan, ("subscriptions",)),
    KindOfWrite("charge_removal", "chargebee", payloads.ChargeRemoval, ("bills", "undo"), moves_money=True),
    KindOfWrite("credit", "chargebee", payloads.Credit, ("bills",), moves_money=True),
    KindOfWrite("charge", "chargebee", payloads.Charge, ("bills",), moves_money=True),
    KindOfWrite("charge_set", "chargebee", payloads.ChargeSet, ("bills",), moves_money=True),
    KindOfWrite(
        "external_mapping",
        "m3ter",
        payloads.ExternalMapping,
        ("subscriptions", "bills", "undo", "links"),
        early=NETTED_SCOPE,
    ),
    KindOfWrite("usage_removal", "chargebee", payloads.UsageRemoval, ("usage",)),
    KindOfWrite("usage", "chargebee", payloads.Usage, ("usage",)),
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


_PAYLOADS: dict[str, type] = {one.kind: one.payload for one in KINDS_OF_WRITE}


def misshapen(kind: Kind, payload: Mapping[str, Any]) -> list[str]:
    """Name the fields of a payload that are not of its kind's shape."""
    return payloads.wrong_fields(_PAYLOADS[kind], payload)


def kinds_of(job: Job) -> tuple[Kind, ...]:
    """The kinds of a job, in their order."""
    return tuple(one.kind for one in KINDS_OF_WRITE if job in one.jobs)


def waves(job: Job) -> tuple[Wave, ...]:
    """What a job delivers, in order. What goes early goes early only where charges wait for it."""
    rows = [one for one in KINDS_OF_WRITE if job in one.jobs]
    early = [Wave(one.target, one.kind, one.early) for one in rows if one.early and "charge" in kinds_of(job)]
    return (*early, *(Wave(one.target, one.kind) for one in rows))
