"""The m3ter mappings of charges: bill ↔ invoice once each, and each bill line ↔ its invoice line. Pure.

Wanted are those of the charges that stand once this change set is applied; wanted minus known is what must be made,
pointed elsewhere or taken away, whichever run was stopped before it came to that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from meterbridge.rules.keys import fingerprint
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


KINDS = ("Bill", "BillLine")
"""What the keys of these mappings begin with, before the bill's id."""

Wanted = tuple[str | Ref, Intent | None]
"""What a mapping points at, and the charge of this change set that makes it so."""


def line_names(
    claims: Iterable[tuple[str, str, str]], known: Collection[Key] = (), leading: Collection[Key] = ()
) -> dict[Key, Key]:
    """Name each claim (bill, bill line, subscription) on a line of the bill, as the keys of mappings do.

    A line that was cut stands for several subscriptions and is mapped to each of their charges: one of them under the
    line's own name, the others with the subscription behind it. Who has a name of its own keeps it.

    Args:
        claims: Of the charges that stand.
        known: Keys of the mappings that the ledger holds.
        leading: Claims whose charge the line's own mapping points at today.
    """
    claimants: dict[Key, set[str]] = defaultdict(set)
    for bill_id, line_id, subscription_id in claims:
        claimants[bill_id, line_id].add(subscription_id)
    names: dict[Key, Key] = {}
    for line, subscriptions in claimants.items():
        plain = sorted(one for one in subscriptions if ("BillLine", *line, one) not in known)
        leader = next((one for one in plain if (*line, one) in leading), plain[0] if plain else "")
        names |= {(*line, one): line if one == leader else (*line, one) for one in subscriptions}
    return names


@dataclass(slots=True)
class _Stand:
    """The charges that stand once the change set is applied, those that go, and what is wanted for the former.

    ``names`` are those of :func:`line_names`; ``lines`` is by these names.
    """

    staying: list[Held]
    coming: list[Intent]
    gone: list[tuple[Held, Intent]]
    names: Mapping[Key, Key] = field(default_factory=dict)
    bills: dict[Key, Wanted] = field(default_factory=dict)
    lines: dict[Key, Wanted] = field(default_factory=dict)

    @classmethod
    def after(
        cls, decided: Sequence[Intent], held: Sequence[Held], known: Collection[Key], pointed: Mapping[Key, str]
    ) -> _Stand:
        """Return what is wanted: of a line that two charges of one subscription are made of, the one that comes.

        ``pointed``: the invoice line that each known mapping points at, by its key.
        """
        removals = {one.key[:-1]: one for one in decided if one.kind == "charge_removal"}
        charges = [one for one in decided if one.kind == "charge" and one.action != "net" and one.payload["invoice_id"]]
        gone = [(one, removals[one.key]) for one in held if one.key in removals]
        staying = [one for one in held if one.key not in removals]
        claims = [claim for one in staying for claim in _claims(one.key, one.bill_line_ids)]
        leading = {
            claim
            for one in staying
            for claim in _claims(one.key, one.bill_line_ids)
            if pointed.get(("BillLine", *claim[:2])) == one.line_id
        }
        claims += [claim for one in charges for claim in _claims(one.key, one.payload["line_ids"])]
        found = cls(staying, charges, gone, line_names(claims, known, leading))
        for one in found.staying:
            found.bills.setdefault((one.key[0], one.invoice_id), (one.invoice_id, None))
            for name in found.named(one.key, one.bill_line_ids):
                found.lines.setdefault(name, (one.line_id, None))
        for charge in charges:
            bill_id, invoice_id = str(charge.payload["bill_id"]), str(charge.payload["invoice_id"])
            standing = found.bills.get((bill_id, invoice_id))
            if standing is None or standing[1] is not None:
                found.bills[bill_id, invoice_id] = (invoice_id, charge)
            for name in found.named(charge.key, charge.payload["line_ids"]):
                found.lines[name] = (Ref("charge", charge.key), charge)
        return found

    def named(self, charge: Key, bill_line_ids: Iterable[Any]) -> list[Key]:
        """Return the names of the bill lines that a charge is made of."""
        return [self.names[claim] for claim in _claims(charge, bill_line_ids)]


def _claims(charge: Key, bill_line_ids: Iterable[Any]) -> list[tuple[str, str, str]]:
    return [(charge[0], str(line_id), charge[1]) for line_id in bill_line_ids]


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

    Args:
        decided: The change set: charges and removals of it count.
        names: What the organisation permits.
        known: Keys of the mappings that the ledger holds.
        held: The charges that it holds, as they stand after ``moved``.
        moved: Those whose draft became a final invoice since.
        bills: Bills decided in this run: what nothing of them asks for goes.
        points: What a mapping was last written with, where that is kept.
    """
    decided, moved = list(decided), list(moved)
    held, known = list(held), set(known)
    stand = _Stand.after(decided, held, known, _pointed(known, points, moved))
    coming = {str(one.payload["bill_id"]) for one in decided if one.kind == "charge"}
    return [
        *_of_bills(stand, names, {key: points.get(key, key[2]) for key in known if key[0] == "Bill"}, moved),
        *_of_lines(stand, names, {key for key in known if key[0] == "BillLine"}, moved, points),
        *_unwanted(stand, names, sorted(key for key in known if key[0] in KINDS), coming, bills),
    ]


def _pointed(known: Iterable[Key], points: Mapping[Key, str], moved: Sequence[Moved]) -> dict[Key, str]:
    """The invoice line that each mapping of a bill line points at, by where that line is now."""
    now = {one.held.line_id: one.line_id for one in moved}
    return {key: now.get(points[key], points[key]) for key in known if key in points}


def _of_bills(stand: _Stand, names: Names, known: Mapping[Key, str], moved: Sequence[Moved]) -> Iterator[Intent]:
    """A bill's mapping keeps the name of the draft that it was made for; then it is pointed elsewhere."""
    places = {(key[1], place) for key, place in known.items()}
    finals = {(one.held.key[0], one.held.invoice_id): one.invoice_id for one in moved}
    for key, place in known.items():
        final = finals.get((key[1], place))
        if final is not None and final != place:
            places.add((key[1], final))
            yield from mapping(key, names.sides_of_bill(key[1], final), "update", None)
    for (bill_id, invoice_id), (_, charge) in stand.bills.items():
        if (bill_id, invoice_id) not in places:
            sides = names.sides_of_bill(bill_id, invoice_id)
            yield from mapping(("Bill", bill_id, invoice_id), sides, _first(charge), charge)


def _of_lines(
    stand: _Stand, names: Names, known: Collection[Key], moved: Sequence[Moved], points: Mapping[Key, str]
) -> Iterator[Intent]:
    before = {one.held.key: one.held.line_id for one in moved}
    was = {name: before.get(one.key) for one in stand.staying for name in stand.named(one.key, one.bill_line_ids)}
    claims = Counter(name for one in stand.staying for name in stand.named(one.key, one.bill_line_ids))
    for name, (target, charge) in stand.lines.items():
        key: Key = ("BillLine", *name)
        sides = names.sides_of_line(name[1], target)
        if key not in known:
            yield from mapping(key, sides, _first(charge), charge)
        elif charge is not None:
            yield from mapping(key, sides, "update", charge)
        else:
            there = was.get(name)
            elsewhere = points.get(key, target) != target and claims[name] == 1
            if elsewhere or there not in (None, target):
                yield from mapping(key, sides, "update", None)


def _unwanted(
    stand: _Stand, names: Names, known: Sequence[Key], coming: Collection[str], bills: Collection[str]
) -> Iterator[Intent]:
    """A bill's own mapping goes only with its last line there: the draft in its name says nothing once that closed."""
    lines: dict[Key, tuple[str, Intent]] = {}
    for one, gone in stand.gone:
        for claim in _claims(one.key, one.bill_line_ids):
            lines[claim if ("BillLine", *claim) in known else claim[:2]] = (one.line_id, gone)
    places = {(one.key[0], one.invoice_id): gone for one, gone in stand.gone}
    standing = {one.key[0] for one in stand.staying} | {one.key[0] for one, _ in stand.gone} | set(coming)
    for key in known:
        bill_id, name = key[1], key[2]
        if key[0] == "BillLine" and key[1:] not in stand.lines:
            there, removal = lines.get(key[1:], ("", None))
            if removal is not None or bill_id in bills:
                yield from mapping(key, names.sides_of_line(name, there), "delete", removal)
        elif key[0] == "Bill" and (bill_id, name) not in stand.bills:
            removal = places.get((bill_id, name))
            if removal is not None or (bill_id in bills and bill_id not in standing):
                yield from mapping(key, names.sides_of_bill(bill_id, name), "delete", removal)


def _first(charge: Intent | None) -> Action:
    """How a mapping is made: where one may have been made before, it is looked for."""
    return "create" if charge is not None and charge.action != "adopt" else "adopt"


def mapping(key: Key, sides: dict[str, Any] | None, action: Action, after: Intent | None) -> Iterator[Intent]:
    """The intent that makes, points or takes away a mapping; none where the organisation permits no such sides."""
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
