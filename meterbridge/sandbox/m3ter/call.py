"""One call to m3ter: query and body, and the pages of its lists."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.table import Row, Table
from meterbridge.sandbox.wire import Refusal

if TYPE_CHECKING:
    from meterbridge.sandbox.m3ter.state import M3terState
    from meterbridge.sandbox.world import World

PAGING = ("pageSize", "nextToken")


def refusal(status: int, message: str) -> Refusal:
    return Refusal(status, {"message": message})


@dataclass(slots=True)
class Call:
    """`query` by name with all its values; `body` is the parsed JSON, numbers as Decimal."""

    world: World
    query: dict[str, list[str]]
    body: Any

    @property
    def state(self) -> M3terState:
        return self.world.m3ter

    def one(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values and values[-1] != "" else None

    def many(self, name: str) -> list[str]:
        """Both array styles: `ids=a&ids=b` as in the API's description, `ids=a,b` as its SDK sends."""
        return [part for value in self.query.get(name, []) for part in value.split(",") if part]

    def flag(self, name: str) -> bool | None:
        value = self.one(name)
        if value not in (None, "true", "false"):
            raise refusal(400, f"{name} should be true or false")
        return None if value is None else value == "true"

    def existing(self, table: Table, row_id: str, what: str) -> Row:
        row = table.get(row_id)
        if row is None:
            raise refusal(404, f"{what} with id {row_id} does not exist")
        return row


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a table a list shows. `by` uses an index; `where` must all hold; `most` bounds pageSize."""

    table: Table
    by: tuple[str, list[Any]] | None = None
    where: tuple[Callable[[Row], bool], ...] = ()
    most: int = 100
    shape: Callable[[Row], Row] = lambda row: row


def answer_page(call: Call, selection: Selection) -> Row:
    """Newest first; `nextToken` is absent on the last page.

    Raises:
        Refusal: pageSize out of bounds, or a token of nobody.
    """
    size = _page_size(call, selection.most)
    after = _token(call.one("nextToken"))
    found: list[tuple[int, Row]] = []
    for seq, row in _candidates(call, selection, after):
        if all(holds(row) for holds in selection.where):
            found.append((seq, row))
            if len(found) > size:
                break
    answer: Row = {"data": [selection.shape(row) for _, row in found[:size]]}
    if len(found) > size:
        answer["nextToken"] = base64.urlsafe_b64encode(f"after:{found[size - 1][0]}".encode()).decode()
    return answer


def _page_size(call: Call, most: int) -> int:
    text = call.one("pageSize")
    if text is None:
        return most
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise refusal(400, f"pageSize must be between 1 and {most}")
    return int(text)


def _token(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        word, seq = base64.urlsafe_b64decode(text.encode()).decode().split(":")
        if word != "after":
            raise ValueError(word)
        return 0, int(seq)
    except ValueError as error:
        raise refusal(400, "nextToken is not valid") from error


def _candidates(call: Call, selection: Selection, after: tuple[int, int] | None) -> Iterator[tuple[int, Row]]:
    lag_ms = call.world.switches.list_lag_seconds * 1000
    if lag_ms:
        rows = selection.table.as_of(call.world.clock.now_ms() - lag_ms, "")
        if selection.by is not None:
            name, values = selection.by
            rows = [each for each in rows if each[2].get(name) in values]
    elif selection.by is not None:
        rows = selection.table.among(selection.by[0], selection.by[1], "")
    else:
        for _, seq, row in selection.table.walk("", descending=True, after=after):
            yield seq, row
        return
    for _, seq, row in reversed(rows):
        if after is None or seq < after[1]:
            yield seq, row
