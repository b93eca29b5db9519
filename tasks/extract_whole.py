"""A whole Chargebee list: one list while it is short or the budget small, else several windows of time at once.

Windows ask by ``created_at``, so what they miss would be missed in silence: a filter
hides rows without the attribute. Two further lists without any filter, one from each
end until they meet, count every id; what the windows did not bring is read by id.
"""

from __future__ import annotations

import json
import logging
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from connectors.chargebee.client import ChargebeeClient, Page
from connectors.chargebee.encoding import between, id_filters, not_before
from meterbridge.settings import Settings
from tasks.services import Services

logger = logging.getLogger(__name__)

PAGES_BEFORE_WINDOWS = 20
"""Below so many pages one list is as quick as several, and needs no count."""

LEAST_REQUESTS_PER_MINUTE = 480
"""Windows need twice the requests of one list: with less budget than this they would be slower."""

WINDOWS_PER_READER = 4
"""More windows than readers, because rows are never spread evenly over time."""


def whole(work: Services, resource: str) -> Iterator[bytes]:
    """The pages of a whole list, deleted rows too; every row at least once, some more often."""
    every = {"include_deleted": "true"}
    pages = work.chargebee.pages(resource, every, sort_by="created_at")
    head = list(islice(pages, PAGES_BEFORE_WINDOWS))
    yield from (page.body for page in head)
    if head and head[-1].next_offset is None:
        return
    first = _created(head[-1], resource) if head else []
    if readers(work.settings) < 2 or not first or None in first:
        yield from (page.body for page in pages)
        return
    reading = _Reading(work.chargebee, resource, pages)
    for page in head:
        reading.note(reading.read, page)
    start = max(one for one in first if one is not None)
    yield from reading.windows(readers(work.settings), start)
    yield from reading.rest()


def readers(settings: Settings) -> int:
    """How many windows are read at once; one means a single list."""
    budget = settings.chargebee_requests_per_minute * (1 - settings.request_reserve)
    return settings.load_windows if budget >= LEAST_REQUESTS_PER_MINUTE else 1


def _entries(page: Page, resource: str) -> list[dict[str, object]]:
    name = resource.removesuffix("s")
    return [entry[name] for entry in json.loads(page.body)["list"]]


def _created(page: Page, resource: str) -> list[int | None]:
    return [None if row.get("created_at") is None else int(str(row["created_at"])) for row in _entries(page, resource)]


@dataclass(slots=True)
class _Reading:
    """One list being read by several; ``read`` are the ids that the windows brought, ``counted`` those of the count."""

    chargebee: ChargebeeClient
    resource: str
    onward: Iterator[Page]
    read: set[str] = field(default_factory=set)
    counted: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    bodies: queue.Queue[bytes | None] = field(default_factory=lambda: queue.Queue(64))

    def note(self, ids: set[str], page: Page) -> list[str]:
        """Remember the page's ids; returns them."""
        found = [str(row["id"]) for row in _entries(page, self.resource)]
        ids.update(found)
        return found

    def windows(self, at_once: int, start: int) -> Iterator[bytes]:
        """The pages of all windows from ``start`` on, and of rows without ``created_at``, as they come.

        Neighbouring windows share their boundary second: Chargebee's ends are inclusive, and rows of
        that second come twice rather than never.
        """
        backward = self._backward()
        last = next(backward)
        self.note(self.counted[1], last)
        newest = max((one for one in _created(last, self.resource) if one is not None), default=start + 1)
        step = max(1, -(-(newest - start) // (at_once * WINDOWS_PER_READER)))
        filters = [
            {"created_at[between]": between(low, low + step)} for low in range(start, max(newest, start + 1), step)
        ]
        # What is older than the newest row is spread over the windows; what comes meanwhile has one of its own.
        filters += [{"created_at[after]": not_before(newest)}, {"created_at[is_present]": "false"}]
        with ThreadPoolExecutor(at_once + 2) as pool:
            work = [pool.submit(self._window, each) for each in filters]
            work += [pool.submit(self._count, self.onward, 0), pool.submit(self._count, backward, 1)]
            ended = pool.submit(self._close, work)
            while (body := self.bodies.get()) is not None:
                yield body
            ended.result()

    def _close(self, work: list[Future[None]]) -> None:
        try:
            for each in work:
                each.result()
        finally:
            self.bodies.put(None)

    def _window(self, wanted: dict[str, str]) -> None:
        params = {"include_deleted": "true", **wanted}
        for page in self.chargebee.pages(self.resource, params, sort_by="created_at"):
            self.note(self.read, page)
            self.bodies.put(page.body)

    def _backward(self) -> Iterator[Page]:
        return self.chargebee.pages(self.resource, {"include_deleted": "true", "sort_by[desc]": "created_at"})

    def _count(self, pages: Iterator[Page], side: int) -> None:
        """Count from one end until the other side has been there."""
        for page in pages:
            found = self.note(self.counted[side], page)
            if any(one in self.counted[1 - side] for one in found):
                return

    def rest(self) -> Iterator[bytes]:
        """The rows that the count has and the windows have not."""
        missed = sorted((self.counted[0] | self.counted[1]) - self.read)
        if missed:
            logger.warning("windows missed rows", extra={"resource": self.resource, "count": len(missed)})
        for some in id_filters("id", missed):
            wanted = {**some, "include_deleted": "true"}
            for page in self.chargebee.pages(self.resource, wanted, sort_by="created_at"):
                yield page.body
