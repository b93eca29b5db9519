"""/events: newest first, kept for 28 days."""

from __future__ import annotations

from collections.abc import Callable

from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_KEPT_MS = 28 * 86_400_000


@routes.get("/events", *PAGING, "eventName", "eventType", "accountId", "resourceId", "includeActioned", "ids")
def list_events(call: Call) -> Row:
    oldest = rfc3339(call.world.clock.now_ms() - _KEPT_MS)
    where: list[Callable[[Row], bool]] = [lambda row: row["eventTime"] >= oldest]
    ids = call.many("ids")
    others = [name for name in ("eventName", "eventType", "accountId", "resourceId") if call.one(name)]
    if ids and others:
        raise refusal(400, "ids: not together with other filters")
    if ids:
        return answer_page(call, Selection(call.state.events, ("id", ids), tuple(where)))
    for name in others:
        where.append(_holds(name, call.one(name) or ""))
    wanted = call.one("eventName")
    by = ("eventName", [wanted]) if wanted else None
    return answer_page(call, Selection(call.state.events, by, tuple(where)))


def _holds(name: str, value: str) -> Callable[[Row], bool]:
    def test(row: Row) -> bool:
        content = row["m3terEvent"]["eventData"]
        subject = content.get("newDto") or content.get("oldDto") or {}
        match name:
            case "eventName":
                return bool(row["eventName"] == value)
            case "eventType":
                return bool(row["eventName"].rsplit(".", 1)[0] == value)
            case "accountId":
                return value in (subject.get("accountId"), subject.get("id"))
        return bool(subject.get("id") == value)

    return test


@routes.get("/events/{id}")
def read(call: Call, event_id: str) -> Row:
    return call.existing(call.state.events, event_id, "Event")
