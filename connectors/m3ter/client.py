"""m3ter's configuration API as the bridge uses it.

Reads give m3ter's objects as they are, for landing, or for putting them back with changes;
:mod:`connectors.m3ter.models` types them. Small settings come typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote, urlencode

from connectors.m3ter.auth import TokenAuth
from connectors.m3ter.models import ExternalMapping, MappingConfiguration, OrganizationConfig
from connectors.records import WireRecord, objects, read_record, read_written
from connectors.transport import Answer, Pacer, Request, Transport, TransportOptions, path, unreadable
from meterbridge.errors import RecordRefused

# A look-up's address stays below what gateways accept (8 kB), however long and foreign the codes are.
LOOKUP_ROWS = 50
LOOKUP_LETTERS = 6000
Record = dict[str, Any]
RecordT = TypeVar("RecordT", bound=WireRecord)


class M3terClient:
    """Typed reads, and writes without vendor keys: an unclear one must be looked up. Thread-safe."""

    def __init__(self, transport: Transport, organization_id: str) -> None:
        self.transport = transport
        self.organization_id = organization_id

    @classmethod
    def connect(
        cls,
        *,
        base_url: str,
        organization_id: str,
        api_key: str,
        api_secret: str,
        pacer: Pacer,
        **options: Unpack[TransportOptions],
    ) -> M3terClient:
        """Connect; nothing is sent yet, the token is fetched with the first request."""
        clock = {"monotonic": options["monotonic"]} if "monotonic" in options else {}
        auth = TokenAuth(base_url, api_key, api_secret, **clock)
        return cls(Transport("m3ter", base_url, auth, pacer, firewall=True, **options), organization_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    def list(
        self,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        page_size: int = 100,
        exact: bool = False,
    ) -> Iterator[list[Record]]:
        """Read a list page by page, newest first; a page may be empty without being the last.

        Args:
            path: Below the organisation, such as ``/accountplans``, percent-encoded.
            params: Filters; several of one name are sent several times.
            page_size: At most 100 or 200, by list.
            exact: Decimals as the vendor's text, for bills, lines, pricing and conversions.

        Raises:
            RetriableError: MB-ANSWER for a page without ``data``, or when a token comes back twice.
        """
        seen: set[str] = set()
        token: str | None = None
        while True:
            pairs = [("pageSize", str(page_size)), *params, *([("nextToken", token)] if token else [])]
            body = self._read(f"{path}?{urlencode(pairs, quote_via=quote, safe='')}", exact=exact)
            rows = objects(body, "data")
            token = body.get("nextToken") if rows is not None else None
            if rows is None or not isinstance(token, str | None):
                raise unreadable(f"m3ter GET {path}: the page has no data")
            yield rows
            if not token:
                return
            if token in seen:
                raise unreadable(f"m3ter GET {path}: the list came back to a token it had given before")
            seen.add(token)

    def get(self, path: str, *, exact: bool = False) -> Record:
        """One object, by its path below the organisation. RecordRefused with status 404 when there is none."""
        body = self._read(path, exact=exact)
        if not isinstance(body, dict):
            raise unreadable(f"m3ter GET {path.partition('?')[0]}: the answer is no object")
        return body

    def get_or_none(self, path: str, *, exact: bool = False) -> Record | None:
        """As :meth:`get`, None when there is none."""
        try:
            return self.get(path, exact=exact)
        except RecordRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def send(self, request: Request, *, repeatable: bool = False) -> Answer:
        """Send a write as built by :mod:`connectors.m3ter.requests`, or read back from the ledger."""
        return self.transport.send(request, repeatable=repeatable)

    @staticmethod
    def parse(model: type[RecordT], answer: Answer, *, resource: str) -> RecordT:
        """The record in the answer to a write; OutcomeUnknown when it cannot be typed, for the write has landed."""
        return read_written(model, answer.json(), resource=resource)

    def organization_config(self) -> OrganizationConfig:
        """The organisation's settings."""
        raw = self.get("/organizationconfig", exact=True)
        return read_record(OrganizationConfig, raw, resource="organization config")

    def products(self) -> Iterator[Record]:
        """All products."""
        return self._each("/products", page_size=200)

    def plans(self) -> Iterator[Record]:
        """All plans; currency is on their templates."""
        return self._each("/plans", exact=True)

    def plan_templates(self) -> Iterator[Record]:
        """All plan templates."""
        return self._each("/plantemplates", exact=True)

    def meters(self) -> Iterator[Record]:
        """All meters, with their data fields."""
        return self._each("/meters")

    def currencies(self) -> Iterator[Record]:
        """All currencies of the organisation."""
        return self._each("/picklists/currency")

    def accounts(self, *, codes: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> Iterator[Record]:
        """Accounts with these codes or these ids; all without either. Unknown ones are left out."""
        name, wanted = ("codes", codes) if codes is not None else ("ids", ids)
        if wanted is None:
            yield from self._each("/accounts")
            return
        # Repeated, not joined by commas: a code may hold a comma.
        for chunk in _chunks([(name, value) for value in wanted]):
            yield from self._each("/accounts", chunk)

    def account(self, account_id: str) -> Record:
        """One account."""
        return self.get(path("accounts", account_id))

    def account_plans(self, account_id: str, *, include_all: bool = True) -> Iterator[Record]:
        """An account's plans; without ``include_all`` only those active now."""
        every = [("includeall", "true")] if include_all else []
        return self._each("/accountplans", [("account", account_id), *every])

    def account_plans_by_id(self, ids: Sequence[str]) -> Iterator[Record]:
        """Account plans with these ids. Whether m3ter lists ended ones by id is unproven: look those up one by one."""
        for chunk in _chunks([("ids", value) for value in ids]):
            yield from self._each("/accountplans", chunk)

    def account_plan(self, account_plan_id: str) -> Record:
        """One account plan."""
        return self.get(path("accountplans", account_plan_id))

    def external_mappings(
        self, system: str = "Chargebee", *, m3ter_ids: Sequence[str] | None = None
    ) -> Iterator[ExternalMapping]:
        """All mappings of one foreign system, or those of these m3ter records alone."""
        chunks = [()] if m3ter_ids is None else _chunks([("m3terIds", one) for one in m3ter_ids])
        for chunk in chunks:
            for raw in self._each("/externalmappings", [("externalSystemId", system), *chunk], page_size=200):
                yield read_record(ExternalMapping, raw, resource="external mapping")

    def mappings_of(self, entity: str, m3ter_id: str) -> Sequence[ExternalMapping]:
        """All mappings of one m3ter record, of any system."""
        return self._mappings(path("externalmappings", "external", entity, m3ter_id))

    def mappings_for(self, system: str, table: str, external_id: str) -> Sequence[ExternalMapping]:
        """All mappings of one foreign record."""
        return self._mappings(path("externalmappings", "externalid", system, table, external_id))

    def mapping_configuration(self) -> MappingConfiguration:
        """The entity, system and table names that mappings may use."""
        raw = self.get("/externalmappingconfiguration")
        return read_record(MappingConfiguration, raw, resource="external mapping configuration")

    def bills(
        self,
        *,
        bill_date_start: date | None = None,
        bill_date_end: date | None = None,
        account_id: str | None = None,
        status: str | None = None,
        exclude_line_items: bool = True,
        include_bill_total: bool = True,
    ) -> Iterator[Record]:
        """Bills with ``bill_date_start`` <= bill date < ``bill_date_end``, decimals as text; each has an ``id``.

        Raises:
            RetriableError: MB-ANSWER for a row that cannot be named: nobody could set it aside.
        """
        wanted = {
            "billDateStart": None if bill_date_start is None else bill_date_start.isoformat(),
            "billDateEnd": None if bill_date_end is None else bill_date_end.isoformat(),
            "accountId": account_id,
            "status": status,
            "excludeLineItems": "true" if exclude_line_items else None,
            "includeBillTotal": "true" if include_bill_total else None,
        }
        asked = [(name, value) for name, value in wanted.items() if value is not None]
        for bill in self._each("/bills", asked, exact=True):
            if not isinstance(bill.get("id"), str):
                raise unreadable("m3ter GET /bills: a bill has no id")
            yield bill

    def bill(self, bill_id: str) -> Record:
        """One bill with all its lines, decimals as text; the lines are paged where m3ter leaves them out."""
        bill = self.get(path("bills", bill_id), exact=True) | {"id": bill_id}
        if not isinstance(bill.get("lineItems"), list):
            bill["lineItems"] = list(self._each(path("bills", bill_id, "lineitems"), exact=True))
        return bill

    def integration_configs(self) -> Iterator[Record]:
        """m3ter's own integrations."""
        return self._each("/integrationconfigs", page_size=200)

    def events(self, event_name: str) -> Iterator[Record]:
        """Events of one kind, newest first, of the last 28 days; the caller stops where it knows them."""
        return self._each("/events", [("eventName", event_name), ("includeActioned", "true")])

    def _read(self, below: str, *, exact: bool) -> Any:
        address = path("organizations", self.organization_id) + below
        answer = self.transport.send(Request("GET", address), repeatable=True)
        return answer.json_exact() if exact else answer.json()

    def _each(
        self, below: str, params: Sequence[tuple[str, str]] = (), *, page_size: int = 100, exact: bool = False
    ) -> Iterator[Record]:
        for rows in self.list(below, params, page_size=page_size, exact=exact):
            yield from rows

    def _mappings(self, below: str) -> Sequence[ExternalMapping]:
        rows = self._each(below, page_size=200)
        return [read_record(ExternalMapping, raw, resource="external mapping") for raw in rows]


def _chunks(pairs: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    start = letters = 0
    for position, (name, value) in enumerate(pairs):
        size = len(name) + len(quote(value, safe="")) + 2
        if position > start and (position - start == LOOKUP_ROWS or letters + size > LOOKUP_LETTERS):
            yield pairs[start:position]
            start, letters = position, 0
        letters += size
    if start < len(pairs):
        yield pairs[start:]
