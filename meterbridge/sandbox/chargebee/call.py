"""One call to Chargebee: its parameters, checked and typed, and the refusals in the vendor's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meterbridge.sandbox.table import Row, Table
from meterbridge.sandbox.wire import Refusal

if TYPE_CHECKING:
    from meterbridge.sandbox.chargebee.state import ChargebeeState
    from meterbridge.sandbox.world import World

_INDEX = re.compile(r"\[\d+\]$")


def refusal(
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    kind: str = "invalid_request",
    legacy: str | None = None,
    extra: tuple[tuple[str, str], ...] = (),
) -> Refusal:
    """An error body with the legacy twins; `legacy` is the finer error_code of the older form."""
    body: dict[str, object] = {"message": message, "type": kind, "api_error_code": code}
    if param:
        body["param"] = param
    body |= {"error_code": legacy or code, "error_msg": message}
    if param:
        body["error_param"] = param
    body["http_status_code"] = status
    return Refusal(status, body, extra)


def wrong_value(param: str, message: str) -> Refusal:
    return refusal(400, "param_wrong_value", f"{param} : {message}", param=param)


def not_found(param: str, value: str) -> Refusal:
    return refusal(404, "resource_not_found", f"{value} not found", param=param)


def invalid_state(message: str) -> Refusal:
    return refusal(409, "invalid_state_for_request", message)


def canonical(name: str) -> str:
    """`line_items[id][0]` is known as `line_items[id][]`."""
    return _INDEX.sub("[]", name)


@dataclass(slots=True)
class Call:
    """Parameters by their full bracketed name. Empty text clears a field, so readers treat it as absent."""

    world: World
    params: Mapping[str, str]

    @property
    def state(self) -> ChargebeeState:
        return self.world.chargebee

    def text(self, name: str, *, longest: int | None = None) -> str | None:
        value = self.params.get(name) or None
        if value is not None and longest is not None and len(value) > longest:
            raise wrong_value(name, f"cannot be longer than {longest} characters")
        return value

    def required(self, name: str, *, longest: int | None = None) -> str:
        value = self.text(name, longest=longest)
        if value is None:
            raise refusal(400, "param_wrong_value", f"{name} : cannot be blank", param=name, legacy="param_required")
        return value

    def integer(self, name: str, *, least: int | None = None) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise wrong_value(name, "should be an integer")
        if least is not None and int(value) < least:
            raise wrong_value(name, f"should be greater than or equal to {least}")
        return int(value)

    def required_integer(self, name: str, *, least: int | None = None) -> int:
        self.required(name)
        value = self.integer(name, least=least)
        return value if value is not None else 0

    def boolean(self, name: str) -> bool | None:
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise wrong_value(name, "should be true or false")
        return None if value is None else value == "true"

    def one_of(self, name: str, choices: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise wrong_value(name, f"should be one of {', '.join(choices)}")
        return value

    def period(self, start: str, end: str) -> tuple[int | None, int | None]:
        """Two service dates, epoch seconds: both or none, in order."""
        date_from, date_to = self.integer(start, least=0), self.integer(end, least=0)
        if (date_from is None) != (date_to is None):
            raise wrong_value(start if date_from is None else end, "is needed beside the other service date")
        if date_from is not None and date_to is not None and date_to < date_from:
            raise wrong_value(end, "should be after the start of the service period")
        return date_from, date_to

    def groups(self, name: str) -> list[Call]:
        """`name[field][0]`, `name[field][1]` … as one Call for each index, fields under their bare names."""
        found: dict[int, dict[str, str]] = {}
        pattern = re.compile(rf"{re.escape(name)}\[(\w+)\]\[(\d+)\]")
        for key, value in self.params.items():
            match = pattern.fullmatch(key)
            if match:
                found.setdefault(int(match[2]), {})[match[1]] = value
        return [Call(self.world, found[index]) for index in sorted(found)]

    def existing(self, table: Table, row_id: str, param: str = "id") -> Row:
        row = table.get(row_id)
        if row is None or row.get("deleted"):
            raise not_found(param, row_id)
        return row
