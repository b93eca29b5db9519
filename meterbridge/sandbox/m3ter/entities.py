"""The five calls that every configuration entity has: create, read, list, replace, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.m3ter.fields import Check
from meterbridge.sandbox.m3ter.state import M3terState
from meterbridge.sandbox.table import Row, Table
from meterbridge.sandbox.wire import Routes

READ_ONLY = frozenset({"id", "version", "dtCreated", "dtLastModified", "createdBy", "lastModifiedBy"})


def nothing_more(_call: Call, row: Row, _before: Row | None) -> Row:
    return row


def nothing_against(_call: Call, _row: Row) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """One entity. `filters` are list parameters with the row field each selects; `event` the area of its events.

    `complete` checks rules between fields and adds what the vendor adds; `may_go` refuses a deletion. `hidden` fields
    are kept to filter by and never answered.
    """

    path: str
    name: str
    table: Callable[[M3terState], Table]
    fields: dict[str, Check]
    required: tuple[str, ...]
    event: str | None = None
    filters: dict[str, str] = field(default_factory=lambda: {"ids": "id"})
    most: int = 100
    unique_code: bool = True
    read_only: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    complete: Callable[[Call, Row, Row | None], Row] = nothing_more
    may_go: Callable[[Call, Row], None] = nothing_against
    identity: tuple[str, ...] = ("code",)

    def shown(self, row: Row) -> Row:
        """What an answer holds of a row."""
        return {name: value for name, value in row.items() if name not in self.hidden} if self.hidden else row


def checked(call: Call, kind: Kind) -> Row:
    """The body's own fields; a PUT may carry read-only fields, they are dropped.

    Raises:
        Refusal: Not an object, a field missing, unknown or wrong.
    """
    body = call.body
    if not isinstance(body, dict):
        raise refusal(400, "the body must be a JSON object")
    for name in kind.required:
        if body.get(name) in (None, ""):
            raise refusal(400, f"{name}: must not be empty")
    row: Row = {}
    for name, value in body.items():
        if name in kind.fields:
            wrong = kind.fields[name](value) if value is not None else None
            if wrong:
                raise refusal(400, f"{name}: {wrong}")
            row[name] = value
        elif name not in READ_ONLY and name not in kind.read_only and not call.world.switches.lenient:
            raise refusal(400, f"{name}: the sandbox does not know this field of {kind.name}")
    return row


def check_version(call: Call, before: Row) -> None:
    sent = call.body.get("version")
    if sent is None:
        raise refusal(400, "version: must not be null")
    if sent != before["version"]:
        raise refusal(call.world.switches.stale_version_status, f"version: {sent} is not the current version")


def create(call: Call, kind: Kind) -> Row:
    row = checked(call, kind)
    _check_code(call, kind, row, None)
    row = kind.complete(call, row, None)
    return insert(call.state, kind, row)


def insert(state: M3terState, kind: Kind, row: Row) -> Row:
    """Store a complete new row and emit its event."""
    row = {"id": state.ids.uuid(kind.name, *(row.get(name) for name in kind.identity))} | row
    saved = state.save(kind.table(state), row, None)
    if kind.event:
        state.emit(f"{kind.event}.created", saved)
    return saved


def replace(call: Call, kind: Kind, row_id: str) -> Row:
    before = call.existing(kind.table(call.state), row_id, kind.name)
    row = checked(call, kind)
    check_version(call, before)
    _check_code(call, kind, row, before)
    row = kind.complete(call, row, before)
    return overwrite(call.state, kind, {"id": row_id} | row, before)


def overwrite(state: M3terState, kind: Kind, row: Row, before: Row) -> Row:
    """Store the next version and emit its event."""
    saved = state.save(kind.table(state), row, before)
    if kind.event:
        state.emit(f"{kind.event}.updated", saved, before)
    return saved


def delete(call: Call, kind: Kind, row_id: str) -> Row:
    before = call.existing(kind.table(call.state), row_id, kind.name)
    kind.may_go(call, before)
    kind.table(call.state).remove(row_id, call.world.clock.now_ms())
    if kind.event:
        call.state.emit(f"{kind.event}.deleted", None, before)
    return before


def list_rows(call: Call, kind: Kind) -> Row:
    wanted = [(column, call.many(name)) for name, column in kind.filters.items() if call.many(name)]
    table = kind.table(call.state)
    where = tuple(_among(column, frozenset(values)) for column, values in wanted[1:])
    return answer_page(call, Selection(table, wanted[0] if wanted else None, where, kind.most, kind.shown))


def _among(column: str, values: frozenset[str]) -> Callable[[Row], bool]:
    return lambda row: row.get(column) in values


def _check_code(call: Call, kind: Kind, row: Row, before: Row | None) -> None:
    wanted = row.get("code")
    if not kind.unique_code or wanted is None:
        return
    others = [each for each in kind.table(call.state).find("code", wanted) if not before or each["id"] != before["id"]]
    if others:
        raise refusal(call.world.switches.duplicate_code_status, f"code: {wanted} is used by another {kind.name}")


def register(routes: Routes, kind: Kind, *, listing: bool = True, writes: bool = True) -> None:
    """Add the calls of one entity to a table of endpoints."""

    def read(call: Call, row_id: str) -> Any:
        return kind.shown(call.existing(kind.table(call.state), row_id, kind.name))

    one = f"/{kind.path}/{{id}}"
    routes.add("GET", one, (), read)
    if listing:
        routes.add("GET", f"/{kind.path}", (*PAGING, *kind.filters), lambda call: list_rows(call, kind))
    if writes:
        routes.add("POST", f"/{kind.path}", (), lambda call: kind.shown(create(call, kind)))
        routes.add("PUT", one, (), lambda call, row_id: kind.shown(replace(call, kind, row_id)))
        routes.add("DELETE", one, (), lambda call, row_id: kind.shown(delete(call, kind, row_id)))
