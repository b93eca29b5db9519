"""What the imitated Chargebee site holds, and how a row changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meterbridge.sandbox.clock import SiteClock, VirtualClock
from meterbridge.sandbox.ids import Ids
from meterbridge.sandbox.limits import Window
from meterbridge.sandbox.table import Row, Table

# Stamps that the vendor's types do not have.
_UNSTAMPED = {
    "unbilled_charge": ("resource_version",),
    "webhook_endpoint": ("resource_version", "updated_at"),
}


@dataclass(slots=True)
class StoredAnswer:
    """The first answer to an idempotency key; `body` None while the first request still runs."""

    fingerprint: str
    expires_ms: int
    status: int = 0
    body: bytes | None = None


@dataclass(slots=True)
class ScheduledChange:
    """What a subscription becomes at `at` (epoch seconds)."""

    at: int
    items: list[Row]


class ChargebeeState:
    """Tables by resource; rows are the JSON objects that the API shows."""

    def __init__(self, clock: VirtualClock, ids: Ids) -> None:
        self.clock = SiteClock(clock)
        self.ids = ids
        self.item_families = Table(sort_fields=("updated_at",))
        self.items = Table(sort_fields=("updated_at",))
        self.item_prices = Table(sort_fields=("created_at", "updated_at"), equal_fields=("item_id",))
        self.webhook_endpoints = Table()
        self.listeners: list[Callable[[Row], None]] = []
        self.page_tails: dict[tuple[int, str], list[Row]] = {}
        self.answers: dict[str, StoredAnswer] = {}
        self.locked: set[str] = set()
        self.window = Window(60_000)
        self.genesis_time: int | None = None  # where Time Machine began; None: the site does not travel
        self.destination_time: int | None = None
        self.arrives_ms = 0  # by the sandbox's clock
        self.erase()

    def erase(self) -> None:
        """All that customers have brought is gone, as when Time Machine starts afresh."""
        times = ("created_at", "updated_at")
        self.customers = Table(sort_fields=times)
        self.subscriptions = Table(sort_fields=times, equal_fields=("customer_id", "status"))
        self.invoices = Table(
            sort_fields=("date", "updated_at"), equal_fields=("customer_id", "subscription_id", "status")
        )
        self.credit_notes = Table(sort_fields=("date",), equal_fields=("customer_id", "reference_invoice_id"))
        self.unbilled_charges = Table(equal_fields=("customer_id", "subscription_id"))
        self.usages = Table(
            sort_fields=("usage_date", "updated_at"), equal_fields=("subscription_id", "item_price_id", "invoice_id")
        )
        self.promotional_credits = Table(sort_fields=("created_at",), equal_fields=("customer_id",))
        self.comments = Table(sort_fields=("created_at",), equal_fields=("entity_id",))
        self.events = Table(sort_fields=("occurred_at",), equal_fields=("event_type",))
        self.closed_drafts: dict[str, Row] = {}
        self.invoiced_charges: set[str] = set()  # ids of unbilled charges that an invoice has taken up
        self.scheduled: dict[str, ScheduledChange] = {}
        self.resumptions: dict[str, int | None] = {}  # when a pause that is scheduled shall end
        self.anchors: dict[str, int] = {}  # day of the month on which a subscription's terms begin
        self.ever_held: dict[str, set[str]] = {}
        self.usages_made: dict[str, int] = {}
        self.metered_terms: dict[str, dict[str, tuple[int, int]]] = {}
        self.next_invoice_number = 1001
        self.next_credit_note_number = 1

    def save(self, table: Table, row: Row) -> Row:
        """Store a changed copy: a higher resource_version, and updated_at to the second."""
        before = table.get(row["id"])
        version = self.clock.now_ms()
        if before is not None:
            version = max(version, before.get("resource_version", 0) + 1)
        row = {key: value for key, value in row.items() if value is not None}
        row |= {"resource_version": version, "updated_at": version // 1000}
        for name in _UNSTAMPED.get(row.get("object", ""), ()):
            del row[name]
        if table is self.subscriptions:
            held = {item["item_price_id"] for item in row["subscription_items"]}
            self.ever_held.setdefault(row["id"], set()).update(held)
        return table.put(row["id"], row, self.clock.now_ms())

    def emit(self, event_type: str, content: dict[str, Any], *, source: str = "api") -> None:
        """Append one event; the content is a snapshot, since rows are never changed in place."""
        event_id = self.ids.short("ev_", event_type, sorted((name, _name_of(part)) for name, part in content.items()))
        event = {
            "id": event_id,
            "object": "event",
            "occurred_at": self.clock.now(),
            "source": source,
            "event_type": event_type,
            "api_version": "v2",
            "content": content,
            "webhook_status": "not_configured",
        }
        self.events.put(event_id, event, self.clock.now_ms())
        for listener in self.listeners:
            listener(event)


def _name_of(part: Any) -> Any:
    if isinstance(part, list):
        return [each["id"] for each in part]
    # A draft's id is derived too, so events of equal worlds get equal ids.
    return part["id"]
