"""Chargebee's lists: operators, sort orders, keyset tokens, lists that lag."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meterbridge.sandbox.chargebee.call import Call, refusal, wrong_value
from meterbridge.sandbox.table import Row, Table

OPERATORS: dict[str, tuple[str, ...]] = {
    "string": ("is", "is_not", "starts_with", "in", "not_in", "is_present"),
    "enum": ("is", "is_not", "in", "not_in", "is_present"),
    "boolean": ("is", "is_present"),
    "number": ("is", "is_not", "lt", "lte", "gt", "gte", "between", "is_present"),
    "timestamp": ("after", "before", "on", "between", "is_present"),
}
_FILTER = re.compile(r"(\w+)\[(\w+)\]")
_PAGING = frozenset({"limit", "offset", "include_deleted", "sort_by[asc]", "sort_by[desc]"})
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Listing:
    """How one resource is listed. `plain` are parameters without operator (comments); `wrap` makes the entry."""

    table: Callable[[Call], Table]
    wrap: Callable[[Call, Row], Row]
    filters: dict[str, str]
    sorts: tuple[str, ...] = ()
    default_sort: str = ""
    include_deleted: bool = False
    plain: tuple[str, ...] = ()
    deleted_by_status: bool = False

    def known(self) -> frozenset[str]:
        names = {f"{name}[{op}]" for name, kind in self.filters.items() for op in OPERATORS[kind]}
        paging = _PAGING if self.sorts else _PAGING - {"sort_by[asc]", "sort_by[desc]"}
        return frozenset(names | (paging if self.include_deleted else paging - {"include_deleted"}) | set(self.plain))


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is walked: sort field, direction, and the position (sort value, serial number) it goes on after."""

    sort: str
    descending: bool
    after: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Test:
    """One filter, ready to apply."""

    field: str
    operator: str
    operand: Any

    def holds(self, row: Row) -> bool:
        value = row.get(self.field)
        return _HOLDS[self.operator](value, self.operand)


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "is": lambda value, operand: value == operand,
    "is_not": lambda value, operand: value != operand,
    "starts_with": lambda value, operand: value is not None and value.startswith(operand),
    "in": lambda value, operand: value in operand,
    "not_in": lambda value, operand: value not in operand,
    "is_present": lambda value, operand: (value is not None) == operand,
    "lt": lambda value, operand: value is not None and value < operand,
    "lte": lambda value, operand: value is not None and value <= operand,
    "gt": lambda value, operand: value is not None and value > operand,
    "gte": lambda value, operand: value is not None and value >= operand,
    "after": lambda value, operand: value is not None and value > operand,
    "before": lambda value, operand: value is not None and value < operand,
    "on": lambda value, operand: value is not None and operand <= value < operand + _DAY,
    "between": lambda value, operand: value is not None and operand[0] <= value <= operand[1],
}


def answer_list(call: Call, listing: Listing) -> Row:
    """`{"list": […], "next_offset": "…"}`."""
    limit = call.integer("limit", least=1) or 10
    if limit > 100:
        raise wrong_value("limit", "should be at most 100")
    tests = list(_tests(call, listing))
    order = Order(*_sort(call, listing), _token(call.text("offset")))
    hidden_when_deleted = not (listing.include_deleted and call.boolean("include_deleted"))
    by_status_only = listing.deleted_by_status and all(test.field != "status" for test in tests)
    found: list[tuple[int, int, Row]] = []
    for key, seq, row in _candidates(call, listing, tests, order):
        if hidden_when_deleted and row.get("deleted"):
            continue
        if by_status_only and row.get("status") == "deleted":
            continue
        if not all(test.holds(row) for test in tests):
            if _is_past(tests, order, row):
                break
            continue
        found.append((key, seq, row))
        if len(found) > limit + call.world.switches.list_moves:
            break
    page, rest = [row for _, _, row in found[:limit]], [row for _, _, row in found[limit:]]
    answer: Row = {"list": [listing.wrap(call, row) for row in [*_repeated(call, listing), *page]]}
    if rest:
        key, seq, _ = found[limit - 1]
        answer["next_offset"] = json.dumps([str(key * 1000), str(seq)], separators=(",", ":"))
        _disturb(call, listing, answer["next_offset"], page, rest)
    return answer


def _repeated(call: Call, listing: Listing) -> list[Row]:
    """With the switch `list_repeats`, rows that the page before ended with."""
    offset = call.text("offset")
    return call.state.page_tails.get((id(listing), offset), []) if offset else []


def _disturb(call: Call, listing: Listing, offset: str, page: list[Row], rest: list[Row]) -> None:
    """What the switches say happens while somebody pages."""
    switches, table = call.world.switches, listing.table(call)
    if switches.list_repeats:
        call.state.page_tails[id(listing), offset] = page[-switches.list_repeats :]
    if switches.list_moves and table.is_sortable("updated_at"):
        for row in rest[: switches.list_moves]:
            call.state.save(table, table.get(row["id"]) or row)


def _candidates(
    call: Call,
    listing: Listing,
    tests: list[Test],
    order: Order,
) -> Iterable[tuple[int, int, Row]]:
    table = listing.table(call)
    lag_ms = call.world.switches.list_lag_seconds * 1000
    if lag_ms:
        return _beyond(table.as_of(call.state.clock.now_ms() - lag_ms, order.sort), order)
    for test in tests:
        if table.is_indexed(test.field) and test.operator in ("is", "in"):
            values = test.operand if test.operator == "in" else [test.operand]
            return _beyond(table.among(test.field, values, order.sort), order)
    low = None if order.descending else max((_low(test) for test in tests if test.field == order.sort), default=None)
    return table.walk(order.sort, descending=order.descending, after=order.after, low=low)


def _low(test: Test) -> int:
    match test.operator:
        case "between":
            return int(test.operand[0])
        case "after" | "on" | "gt" | "gte":
            return int(test.operand)
    return -1


def _is_past(tests: list[Test], order: Order, row: Row) -> bool:
    """An ascending walk has left the window of its own sort field: nothing further can match."""
    if order.descending or not order.sort:
        return False
    value = row.get(order.sort)
    ends = [test.operand[1] for test in tests if test.field == order.sort and test.operator == "between"]
    return value is not None and any(value > end for end in ends)


def _beyond(rows: list[tuple[int, int, Row]], order: Order) -> Iterator[tuple[int, int, Row]]:
    ordered = reversed(rows) if order.descending else iter(rows)
    for each in ordered:
        position = each[:2]
        if order.after is None or (position < order.after if order.descending else position > order.after):
            yield each


def _sort(call: Call, listing: Listing) -> tuple[str, bool]:
    for name, descending in (("sort_by[asc]", False), ("sort_by[desc]", True)):
        field = call.text(name)
        if field is not None:
            if field not in listing.sorts:
                raise wrong_value(name, f"should be one of {', '.join(listing.sorts)}")
            return field, descending
    # Documents and field notes disagree about the default; newest first hurts a caller who forgot to say.
    return listing.default_sort, True


def _token(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        key, seq = json.loads(text)
        return int(key) // 1000, int(seq)
    except (ValueError, TypeError) as error:
        raise wrong_value("offset", "is not an offset of this list") from error


def _tests(call: Call, listing: Listing) -> Iterator[Test]:
    for name, value in call.params.items():
        match = _FILTER.fullmatch(name)
        if name in listing.plain:
            yield Test(name, "is", value)
        elif match and match[1] in listing.filters:
            yield Test(match[1], match[2], _operand(name, listing.filters[match[1]], match[2], value))


def _operand(name: str, kind: str, operator: str, value: str) -> Any:
    if operator == "is_present":
        return value == "true"
    if operator in ("in", "not_in"):
        return _array(name, value)
    if operator == "between":
        ends = [_number(name, each) for each in _array(name, value)]
        if len(ends) != 2 or ends[0] >= ends[1]:
            raise wrong_value(name, "the second value should be greater than the first")
        return ends
    if kind in ("number", "timestamp"):
        number = _number(name, value)
        return number - number % _DAY if operator == "on" else number
    return value == "true" if kind == "boolean" else value


def _array(name: str, value: str) -> list[str]:
    if not re.fullmatch(r"\[.*\]", value, re.DOTALL):
        raise refusal(400, "param_wrong_value", f"{name} : wrong format, an array is expected", param=name)
    try:
        items = json.loads(value)
    except ValueError:
        # The vendor's own SDK sends single quotes or none.
        items = [each.strip().strip("'\"") for each in value[1:-1].split(",")]
    if any(isinstance(each, list | dict) for each in items):
        raise refusal(400, "param_wrong_value", f"{name} : wrong format", param=name)
    return [str(each) for each in items]


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"-?\d+", value.strip()):
        raise wrong_value(name, "should be a number")
    return int(value)
