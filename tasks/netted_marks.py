"""Marks of netting in m3ter's mappings: a charge that another bill's surplus lowered is told by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from meterbridge.rules.charge_mappings import Names, mapping
from meterbridge.rules.kinds import NETTED_SCOPE
from meterbridge.rules.recall import Part, lowered_lines, mark_of
from meterbridge.rules.records import Action, Intent, Key, Ref


def netted_intents(
    decided: Iterable[Intent],
    names: Names,
    *,
    known: Collection[Key],
    held: Iterable[tuple[Key, str]],
    kept: Collection[Key] = (),
) -> list[Intent]:
    """The marks of lowered charges that m3ter lacks, and those of charges that are lowered no more.

    A charge is lowered once its mark is made, and marked anew once the bill's old marks are gone: whenever
    the ledger is lost, the marks say no more than what is taken off. Only the mark of a charge that is taken over comes
    after it: m3ter has it already, and a ledger that knows it must know the charge.

    Args:
        known: The marks that m3ter has, among keys of other mappings.
        held: The marks that follow from the ledger, each with its charge's key.
        kept: Marks of charges under way, which no other decision takes away.
    """
    booking = [(one, key, parts) for one in decided for key, parts in _lowered(one)]
    charges = {key for _, key, _ in booking}
    wanted: dict[Key, Intent | None] = {mark: one for one, key, parts in booking for mark in _marks(key, parts)}
    wanted |= {("Netted", key[0], mark): None for key, mark in held if key not in charges}
    gone = [key for key in known if key[0] == "Netted" and key not in wanted and key not in kept]
    found = [one for key in gone for one in _mark(key, names, "delete", None, ())]
    for key, charge in wanted.items():
        if key in known:
            continue
        if charge is not None and charge.action != "adopt":
            before = tuple(Ref(one.kind, one.key) for one in found if (one.action, one.key[1]) == ("delete", key[1]))
            found += _mark(key, names, "create", charge, before)
        else:
            found += _mark(key, names, "adopt", charge, () if charge is None else (Ref(charge.kind, charge.key),))
    return found


def after_marks(decided: Iterable[Intent], names: Names) -> list[Intent]:
    """The intents, those of lowered charges waiting for their marks; where none are permitted all are as they were."""
    return [
        replace(one, depends_on=(*one.depends_on, *marks))
        if one.action != "adopt" and (marks := _needed_marks(one, names))
        else one
        for one in decided
    ]


def _lowered(intent: Intent) -> list[tuple[Key, Sequence[Part]]]:
    return lowered_lines(intent.kind, intent.key, intent.payload, intent.state)


def _marks(key: Key, parts: Iterable[Part]) -> list[Key]:
    return [("Netted", key[0], mark_of(key, part)) for part in parts]


def _needed_marks(intent: Intent, names: Names) -> list[Ref]:
    marks = (mark for key, parts in _lowered(intent) for mark in _marks(key, parts))
    return [Ref("external_mapping", mark) for mark in marks if names.sides_of_netted(*mark[1:])]


def _mark(key: Key, names: Names, action: Action, charge: Intent | None, after: tuple[Ref, ...]) -> list[Intent]:
    made = mapping(key, names.sides_of_netted(*key[1:]), action, charge)
    return [replace(one, scope=f"{NETTED_SCOPE}{key[1]}", depends_on=after) for one in made]
