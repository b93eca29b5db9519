"""Chargebee's API as the bridge uses it (Product Catalog 2.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self, Unpack

import httpx

from connectors.chargebee.encoding import BARE_PARAMETERS, query
from connectors.chargebee.models import Invoice, SiteConfiguration, TimeMachine
from connectors.records import objects, read_record, read_written
from connectors.transport import Answer, Pacer, Request, Transport, TransportOptions, path, unreadable
from meterbridge.errors import BrokenInvariant, OutcomeUnknown, RecordRefused, SetupError

IDEMPOTENCY_HEADER = "chargebee-idempotency-key"
_NO_FILTER: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its bytes as received, how many entries, where the next begins."""

    body: bytes
    rows: int
    next_offset: str | None


class ChargebeeClient:
    """Typed reads, and writes under an idempotency key. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    @classmethod
    def connect(
        cls, *, base_url: str, api_key: str, pacer: Pacer, **options: Unpack[TransportOptions]
    ) -> ChargebeeClient:
        """Connect to ``base_url`` (it ends in ``/api/v2``); nothing is sent yet."""
        return cls(Transport("chargebee", base_url, httpx.BasicAuth(api_key, ""), pacer, **options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    def configuration(self) -> SiteConfiguration:
        """The site's kind; its first configuration, for a site has one."""
        rows = objects(self._get(path("configurations")), "configurations")
        if not rows:
            raise unreadable("chargebee GET /configurations: the answer names no configuration")
        return read_record(SiteConfiguration, rows[0], resource="configuration")

    def time_machine_or_none(self) -> TimeMachine | None:
        """Where the site is in time; None where it has no Time Machine, or hides it from our key: it is a test tool."""
        try:
            found = self._single(path("time_machines", "delorean"), "time_machine")
        except (RecordRefused, SetupError):
            return None
        return read_record(TimeMachine, found, resource="time_machine")

    def pages(
        self,
        resource: str,
        params: Mapping[str, str] = _NO_FILTER,
        *,
        sort_by: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
    ) -> Iterator[Page]:
        """Read a list page by page.

        Args:
            resource: The list's path without slashes at its ends, such as ``subscriptions``.
            params: Filters with their operators (``status[is]``), repeated on every page.
            sort_by: Attribute to sort by, ascending.
            newest_first: Descending.
            limit: Entries a page, at most 100.

        Raises:
            RetriableError: MB-ANSWER for a page without a list, or when an offset comes back twice.
        """
        for page, _ in self._walk(resource, self._filters(params, sort_by, limit, newest_first=newest_first)):
            yield page

    def rows(
        self,
        resource: str,
        params: Mapping[str, str] = _NO_FILTER,
        *,
        sort_by: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
    ) -> Iterator[dict[str, Any]]:
        """A list's entries as they come, each wrapped: ``{"invoice": {...}}``. For short lists."""
        for _, entries in self._walk(resource, self._filters(params, sort_by, limit, newest_first=newest_first)):
            yield from entries

    def invoice(self, invoice_id: str) -> Invoice:
        """One invoice with all its lines, read strongly. RecordRefused with status 404 when there is none."""
        address = path("invoices", invoice_id)
        whole = self._single(address, "invoice")
        lines = list(whole.get("line_items") or [])
        seen: set[str] = set()
        offset = whole.get("line_items_next_offset")
        while offset is not None and offset not in seen:
            seen.add(offset)
            more = self._single(f"{address}?{query({'line_items_offset': offset})}", "invoice")
            lines += more.get("line_items") or []
            offset = more.get("line_items_next_offset")
        if offset is not None:
            raise unreadable(f"chargebee GET {address}: the lines came back to an offset they had given before")
        raw = {**whole, "line_items": lines, "line_items_next_offset": None}
        return read_record(Invoice, raw, resource="invoice", record_id=invoice_id)

    def invoice_or_none(self, invoice_id: str) -> Invoice | None:
        """As :meth:`invoice`, None when there is none (a draft's id is gone once it closed)."""
        try:
            return self.invoice(invoice_id)
        except RecordRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def subscription(self, subscription_id: str) -> dict[str, Any]:
        """One entry as in the list: ``{"subscription": {...}, "customer": {...}}``, read strongly."""
        return self._entry(path("subscriptions", subscription_id), "subscription")

    def customer(self, customer_id: str) -> dict[str, Any]:
        """One entry as in the list: ``{"customer": {...}}``, read strongly."""
        return self._entry(path("customers", customer_id), "customer")

    def usage_or_none(self, subscription_id: str, usage_id: str) -> dict[str, Any] | None:
        """One usage record, read strongly; None when there is none of this id."""
        address = path("subscriptions", subscription_id, "usages")
        try:
            return self._single(f"{address}?{query({'id': usage_id})}", "usage")
        except RecordRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def event(self, event_id: str) -> dict[str, Any]:
        """One entry as in the list: ``{"event": {...}}``, read strongly."""
        return self._entry(path("events", event_id), "event")

    def send(self, request: Request, *, idempotency_key: str, resend_until: float, in_doubt: bool = False) -> Answer:
        """Send a write under its key; tries after a lost answer are replayed by Chargebee for 30 minutes.

        Args:
            request: As built by :mod:`connectors.chargebee.requests`, or read back from the ledger.
            idempotency_key: The intent's own, 1 to 100 ASCII characters.
            resend_until: On the monotonic clock, inside those 30 minutes.
            in_doubt: An earlier try under the key may have landed, or be at work still.
        """
        if not (0 < len(idempotency_key) <= 100 and idempotency_key.isascii() and idempotency_key.isprintable()):
            raise BrokenInvariant("MB-INVARIANT", "an idempotency key has 1 to 100 printable ASCII characters")
        return self.transport.send(
            request,
            repeatable=True,
            headers={IDEMPOTENCY_HEADER: idempotency_key},
            resend_until=resend_until,
            in_doubt=in_doubt,
        )

    @staticmethod
    def parse_invoice(answer: Answer) -> Invoice:
        """The invoice, with all its lines, in the answer to a write on one.

        Raises:
            OutcomeUnknown: The answer cannot be typed, or keeps lines back; the write has landed,
                what it did must be read with :meth:`invoice`.
        """
        body = answer.json()
        raw = body.get("invoice") if isinstance(body, dict) else None
        invoice = read_written(Invoice, raw, resource="invoice")
        if invoice.line_items_next_offset is not None:
            raise OutcomeUnknown(
                "MB-OUTCOME-UNKNOWN", f"the answer to a write on invoice {invoice.id} keeps lines back", key=invoice.id
            )
        return invoice

    @staticmethod
    def _filters(
        params: Mapping[str, str], sort_by: str | None, limit: int, *, newest_first: bool = False
    ) -> dict[str, str]:
        for name in params:
            if "[" not in name and name not in BARE_PARAMETERS:
                raise BrokenInvariant("MB-INVARIANT", f"Chargebee would ignore the filter {name}: it has no operator")
        order = {} if sort_by is None else {f"sort_by[{'desc' if newest_first else 'asc'}]": sort_by}
        return {"limit": str(limit), **order, **params}

    def _walk(self, resource: str, filters: dict[str, str]) -> Iterator[tuple[Page, list[dict[str, Any]]]]:
        address = path(*resource.split("/"))
        seen: set[str] = set()
        while True:
            page, entries = self._page(f"{address}?{query(filters)}", address)
            yield page, entries
            if page.next_offset is None:
                return
            if page.next_offset in seen:
                raise unreadable(f"chargebee GET {address}: the list came back to an offset it had given before")
            seen.add(page.next_offset)
            filters["offset"] = page.next_offset

    def _page(self, address: str, shown: str) -> tuple[Page, list[dict[str, Any]]]:
        answer = self.transport.send(Request("GET", address), repeatable=True)
        body = answer.json()
        rows = objects(body, "list")
        offset = body.get("next_offset") if rows is not None else None
        if rows is None or not isinstance(offset, str | None):
            raise unreadable(f"chargebee GET {shown}: the page has no list")
        return Page(answer.body, len(rows), offset or None), rows

    def _get(self, address: str) -> Any:
        return self.transport.send(Request("GET", address), repeatable=True).json()

    def _entry(self, address: str, key: str) -> dict[str, Any]:
        body = self._get(address)
        if not isinstance(body, dict) or not isinstance(body.get(key), dict):
            raise unreadable(f"chargebee GET {address.partition('?')[0]}: the answer holds no {key}")
        return body

    def _single(self, address: str, key: str) -> dict[str, Any]:
        record: dict[str, Any] = self._entry(address, key)[key]
        return record
