"""The m3ter mappings of charges: bill ↔ invoice once each, each bill line ↔ its invoice line, and marks of netting.

They follow the charges: new ones are made, those of lines that went are taken away,
those of a draft that closed are pointed at its final invoice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from meterbridge.rules.keys import fingerprint
from meterbridge.rules.kinds import NETTED_SCOPE
from meterbridge.rules.recall import mark_of
from meterbridge.rules.records import Action, Intent, Key, Ref


@dataclass(frozen=True, slots=True)
class Held:
    """A charge that the ledger holds: where it stands, and the bill lines it was made of."""

    key: Key
    invoice_id: str
    line_id: str
    bill_line_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """A held charge whose draft became a final invoice; the line's id may be another one."""

    held: Held
    invoice_id: str
    line_id: str


@dataclass(frozen=True, slots=True)
class Names:
    """The entity and table names that this organisation permits; None where it permits none."""

    bill: str | None
    invoice: str | None
    line: str | None
    invoice_line: str | None

    @classmethod
    def of(cls, names: Mapping[str, Any]) -> Names:
        """As kept in the ledger: ``bill``, ``invoice``, ``line``, ``invoice_line``."""
        return cls(*(names.get(role) for role in ("bill", "invoice", "line", "invoice_line")))

    def sides_of_bill(self, bill_id: str, invoice_id: str) -> dict[str, Any] | None:
        """Bill ↔ invoice; None where the ledger alone may know."""
        return _sides(self.bill, bill_id, self.invoice, invoice_id)

    def sides_of_line(self, line_id: str, invoice_line: str | Ref) -> dict[str, Any] | None:
        """Bill line ↔ invoice line; None where the ledger alone may know."""
        return _sides(self.line, line_id, self.invoice_line, invoice_line)

    def sides_of_netted(self, bill_id: str, mark: str) -> dict[str, Any] | None:
        """A mark that a charge of the bill was lowered; None where the ledger alone may know."""
        return _sides(self.bill, bill_id, self.invoice_line, mark)


def _sides(entity: str | None, m3ter_id: str, table: str | None, external_id: str | Ref) -> dict[str, Any] | None:
    if not (entity and table):
        return None
    return {"m3terEntity": entity, "m3terId": m3ter_id, "externalTable": table, "externalId": external_id}


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
    charges = {one.key: one for one in decided if one.kind == "charge"}
    wanted: dict[Key, Intent | None] = {key: one for one in charges.values() for key in _marks_on(one)}
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
        if one.kind == "charge" and one.action != "adopt" and (marks := _needed_marks(one, names))
        else one
        for one in decided
    ]


def _marks_on(charge: Intent) -> list[Key]:
    return [("Netted", charge.key[0], mark_of(charge.key, part)) for part in charge.state.get("carried", ())]


def _needed_marks(charge: Intent, names: Names) -> list[Ref]:
    return [Ref("external_mapping", key) for key in _marks_on(charge) if names.sides_of_netted(*key[1:])]


def _mark(key: Key, names: Names, action: Action, charge: Intent | None, after: tuple[Ref, ...]) -> list[Intent]:
    made = _mapping(key, names.sides_of_netted(*key[1:]), action, charge)
    return [replace(one, scope=f"{NETTED_SCOPE}{key[1]}", depends_on=after) for one in made]


def mapping_intents(
    decided: Iterable[Intent],
    names: Names,
    *,
    known: Collection[Key] = (),
    held: Iterable[Held] = (),
    moved: Iterable[Moved] = (),
    bills: Collection[str] = (),
    points: Mapping[Key, str] = MappingProxyType({}),
) -> list[Intent]:
    """What must change in m3ter's mappings once these charges and removals are applied.

    ``known`` are the keys of mappings that the ledger holds; ``held`` the charges
    that it holds, as they stand after ``moved``; ``bills`` those decided in this run;
    ``points`` which invoice line a bill line's mapping was last written with, where that is kept.
    """
    decided = list(decided)
    found: dict[Key, Intent] = {}
    moved = list(moved)
    for intent in _pointed_elsewhere(moved, names, known):
        found[intent.key] = intent
    # The pointed mapping is the final invoice's, under the draft's key: a second one would be a twin.
    pointed = {(one.held.key[0], one.invoice_id) for one in moved if _bill_key(one.held) in known}
    known = {*known, *(("Bill", *place) for place in pointed)}
    for charge in decided:
        if charge.kind == "charge" and charge.action != "net" and charge.payload["invoice_id"]:
            for intent in _of_charge(charge, names, known):
                found[intent.key] = intent
    held = list(held)
    for intent in _of_removals(decided, names, known, held):
        found.setdefault(intent.key, intent)
    gone = {intent.key[:-1] for intent in decided if intent.kind == "charge_removal"}
    for intent in [*_never_made(held, gone, names, known), *_never_pointed(held, gone, names, points)]:
        found.setdefault(intent.key, intent)
    coming = {charge.payload["bill_id"] for charge in decided if charge.kind == "charge"}
    for intent in _left_behind(bills, held, names, known, coming=coming):
        found.setdefault(intent.key, intent)
    return list(found.values())


def _bill_key(held: Held) -> Key:
    return ("Bill", held.key[0], held.invoice_id)


def _of_charge(charge: Intent, names: Names, known: Collection[Key]) -> Iterator[Intent]:
    bill_id, invoice_id = str(charge.payload["bill_id"]), str(charge.payload["invoice_id"])
    first: Action = "adopt" if charge.action == "adopt" else "create"  # adopt looks for one made before the ledger
    key: Key = ("Bill", bill_id, invoice_id)
    if key not in known:
        yield from _mapping(key, names.sides_of_bill(bill_id, invoice_id), first, charge)
    for line_id in map(str, charge.payload["line_ids"]):
        key = ("BillLine", bill_id, line_id)
        action = "update" if key in known else first
        yield from _mapping(key, names.sides_of_line(line_id, Ref("charge", charge.key)), action, charge)


def _of_removals(decided: Iterable[Intent], names: Names, known: Collection[Key], held: list[Held]) -> Iterator[Intent]:
    removals = {intent.key[:-1]: intent for intent in decided if intent.kind == "charge_removal"}
    coming = {(i.payload["bill_id"], i.payload["invoice_id"]) for i in decided if i.kind == "charge"}
    staying = {(one.key[0], one.invoice_id) for one in held if one.key not in removals}
    for one in held:
        removal = removals.get(one.key)
        if removal is None:
            continue
        for line_id in one.bill_line_ids:
            key: Key = ("BillLine", one.key[0], line_id)
            if key in known:
                yield from _mapping(key, names.sides_of_line(line_id, one.line_id), "delete", removal)
        place = (one.key[0], one.invoice_id)
        if ("Bill", *place) in known and place not in staying | coming:
            yield from _mapping(("Bill", *place), names.sides_of_bill(*place), "delete", removal)


def _never_made(held: Iterable[Held], gone: Collection[Key], names: Names, known: Collection[Key]) -> Iterator[Intent]:
    """Mappings of charges that stand already: a run that sent the charge was stopped before it came to these."""
    for one in held:
        if one.key in gone:
            continue
        key: Key = ("Bill", one.key[0], one.invoice_id)
        if key not in known:
            yield from _mapping(key, names.sides_of_bill(one.key[0], one.invoice_id), "adopt", None)
        for line_id in one.bill_line_ids:
            key = ("BillLine", one.key[0], line_id)
            if key not in known:
                yield from _mapping(key, names.sides_of_line(line_id, one.line_id), "adopt", None)


def _never_pointed(
    held: Sequence[Held], gone: Collection[Key], names: Names, points: Mapping[Key, str]
) -> Iterator[Intent]:
    """Mappings of a line that was replaced: a run that sent the new one was stopped before it pointed them there."""
    claims = Counter((one.key[0], line_id) for one in held for line_id in one.bill_line_ids)
    for one in held:
        for line_id in one.bill_line_ids if one.key not in gone else ():
            key: Key = ("BillLine", one.key[0], line_id)
            if points.get(key, one.line_id) != one.line_id and claims[key[1], line_id] == 1:
                yield from _mapping(key, names.sides_of_line(line_id, one.line_id), "update", None)


def _left_behind(
    bills: Collection[str], held: Iterable[Held], names: Names, known: Collection[Key], *, coming: Collection[str]
) -> Iterator[Intent]:
    """Mappings of charges that are gone: a run that took the lines off was stopped before it came to these.

    A bill's own mapping goes only with its last line: under which draft it was made says nothing once that has closed.
    """
    held = list(held)
    mapped = {(one.key[0], line_id) for one in held for line_id in one.bill_line_ids}
    standing = {one.key[0] for one in held} | set(coming)
    for key in sorted(known):
        if key[0] == "BillLine" and key[1] in bills and key[1:3] not in mapped:
            yield from _mapping(key, names.sides_of_line(key[2], ""), "delete", None)
        elif key[0] == "Bill" and key[1] in bills and key[1] not in standing:
            yield from _mapping(key, names.sides_of_bill(key[1], key[2]), "delete", None)


def _pointed_elsewhere(moved: Iterable[Moved], names: Names, known: Collection[Key]) -> Iterator[Intent]:
    for one in moved:
        bill_id = one.held.key[0]
        key: Key = ("Bill", bill_id, one.held.invoice_id)
        if key in known:
            yield from _mapping(key, names.sides_of_bill(bill_id, one.invoice_id), "update", None)
        for line_id in one.held.bill_line_ids if one.line_id != one.held.line_id else ():
            key = ("BillLine", bill_id, line_id)
            if key in known:
                yield from _mapping(key, names.sides_of_line(line_id, one.line_id), "update", None)


def _mapping(key: Key, sides: dict[str, Any] | None, action: Action, after: Intent | None) -> Iterator[Intent]:
    if sides is None:
        return
    payload = {"externalSystem": "Chargebee", **sides}
    verb = {"delete": "no longer", "update": "now"}.get(action, "")
    where = sides["externalId"] if isinstance(sides["externalId"], str) else ""
    yield Intent(
        kind="external_mapping",
        key=key,
        action=action,
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=" ".join(
            f"{sides['m3terEntity']} {sides['m3terId']} {verb} ↔ Chargebee {sides['externalTable']} {where}".split()
        ),
        scope=f"bill:{key[1]}",
        depends_on=() if after is None else (Ref(after.kind, after.key),),
        state={} if action == "delete" else {"points_at": sides["externalId"]},
        source_version=None if after is None else after.source_version,
    )
