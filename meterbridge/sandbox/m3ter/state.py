"""What the imitated m3ter organisation holds, and how a row changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from meterbridge.sandbox.clock import VirtualClock, rfc3339
from meterbridge.sandbox.ids import Ids
from meterbridge.sandbox.limits import Window
from meterbridge.sandbox.table import Row, Table

if TYPE_CHECKING:
    from meterbridge.sandbox.m3ter.uploads import Upload

SERVICE_USER = "USER_7d1f6a52-64a5-4a53-8f0e-9d3c11b7a001"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One accepted measurement; `measures` are its numbers, `texts` its dimensions, both by field code."""

    ts_ms: int
    measures: dict[str, Decimal]
    texts: dict[str, str]


@dataclass(slots=True)
class Usage:
    """Measurements by (account id, meter code), and the uids of the last 35 days with the instant they expire."""

    rows: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict)
    uids: dict[str, int] = field(default_factory=dict)


class M3terState:
    """Tables by resource; rows are the JSON objects that the API shows."""

    def __init__(self, clock: VirtualClock, ids: Ids) -> None:
        self.clock = clock
        self.ids = ids
        self.accounts = Table(equal_fields=("code", "parentAccountId"))
        self.account_ids_by_folded_code: dict[str, str] = {}
        self.account_plans = Table(equal_fields=("accountId", "planId", "productId", "contractId", "code"))
        self.products = Table(equal_fields=("code",))
        self.plan_templates = Table(equal_fields=("code", "productId"))
        self.plans = Table(equal_fields=("code", "productId", "accountId"))
        self.pricings = Table(equal_fields=("code", "planId", "planTemplateId", "aggregationId"))
        self.meters = Table(equal_fields=("code", "productId"))
        self.aggregations = Table(equal_fields=("code", "meterId", "productId"))
        self.compound_aggregations = Table(equal_fields=("code", "productId"))
        self.currencies = Table(equal_fields=("code",))
        self.bills = Table(equal_fields=("accountId", "status", "billJobId"))
        self.bill_jobs = Table(equal_fields=("status",))
        self.mappings = Table(equal_fields=("m3terId", "externalId", "externalSystem", "integrationConfigId"))
        self.integration_configs = Table(equal_fields=("destinationId",))
        self.events = Table(equal_fields=("eventName",))
        self.notifications = Table(equal_fields=("code", "eventName"))
        self.webhook_destinations = Table(equal_fields=("code",))
        self.listeners: list[Callable[[Row], None]] = []
        self.usage = Usage()
        self.uploads: dict[str, Upload] = {}
        self.failed_files: dict[str, list[Row]] = {}
        self.tokens: dict[str, int] = {}
        self.window = Window(1000)
        self.organizations = Table()
        self.organization: Row = {}

    def save(self, table: Table, row: Row, before: Row | None) -> Row:
        """A first version, or the next one of `before`, with audit fields; absent instead of null."""
        now = rfc3339(self.clock.now_ms())
        row = {key: value for key, value in row.items() if value is not None}
        audit = {"dtLastModified": now, "lastModifiedBy": SERVICE_USER}
        if before is None:
            audit |= {"dtCreated": now, "createdBy": SERVICE_USER}
        else:
            audit |= {"dtCreated": before["dtCreated"], "createdBy": before["createdBy"]}
        row = row | {"version": before["version"] + 1 if before else 1} | audit
        return table.put(row["id"], row, self.clock.now_ms())

    def emit(self, name: str, new: Row | None, old: Row | None = None) -> None:
        """One event; rows are never changed in place, so they serve as snapshots."""
        content: Row = {}
        if new is not None:
            content["newDto"] = new
        if old is not None:
            content["oldDto"] = old
        subject = new or old or {}
        event_id = self.ids.uuid("event", name, subject.get("id"))
        event = {
            "id": event_id,
            "eventName": name,
            "eventTime": rfc3339(self.clock.now_ms()),
            "m3terEvent": {"eventData": content},
        }
        self.events.put(event_id, event, self.clock.now_ms())
        for listener in self.listeners:
            listener(event)
