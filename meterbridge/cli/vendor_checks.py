"""What ``meterbridge doctor`` asks the two vendors. Nothing it sends can change anything there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from connectors.chargebee import requests as chargebee_requests
from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter.client import M3terClient
from connectors.pacing import SlotPacer
from connectors.transport import Request, Transport, path
from meterbridge.cli import words
from meterbridge.cli.findings import Finding, failure, guarded, ok, warning
from meterbridge.errors import CODES, RecordRefused, SetupError
from meterbridge.rules.native import sending_bills
from meterbridge.rules.sites import Site
from meterbridge.settings import Settings
from tasks.permitted_names import MAPPING_NAMES, NEEDED_NAMES, mapping_names
from tasks.site_time import site_time

CLOCK_WARNING_SECONDS = 60
CHARGEBEE_LISTS = ("customers", "subscriptions", "invoices", "item_prices", "events")
M3TER_LISTS = ("/accounts", "/products", "/plans", "/bills", "/externalmappings")
M3TER_WRITES = {"accounts": "accounts", "accountplans": "account plans", "externalmappings": "mappings"}
"""The records that a sync writes in m3ter, in words."""

MOST_ACCOUNTS = 5_000
"""So many accounts are looked at for their site, the newest first."""

NO_INVOICE = "meterbridge-doctor"
"""The id of an invoice that no site has: a write on it tells our rights and can do nothing."""


@dataclass(slots=True)
class Clients:
    """Both vendors, and what was learnt of them on the way."""

    chargebee: ChargebeeClient
    m3ter: M3terClient
    site_name: str = ""
    item_prices: dict[str, dict[str, str]] = field(default_factory=dict)


@contextmanager
def connected(settings: Settings) -> Iterator[Clients]:
    """Clients for the length of a block, paced for this process alone: doctor must work without a ledger."""
    share = 1 - settings.request_reserve
    chargebee = ChargebeeClient.connect(
        base_url=settings.chargebee_url,
        api_key=settings.chargebee_api_key.get_secret_value(),
        pacer=SlotPacer(settings.chargebee_requests_per_minute / 60, share=share),
    )
    m3ter = M3terClient.connect(
        base_url=settings.m3ter_base_url.rstrip("/"),
        organization_id=settings.m3ter_org_id,
        api_key=settings.m3ter_api_key.get_secret_value(),
        api_secret=settings.m3ter_api_secret.get_secret_value(),
        pacer=SlotPacer(settings.m3ter_requests_per_second, share=share),
    )
    with chargebee, m3ter:
        yield Clients(chargebee, m3ter)


def chargebee_checks(clients: Clients) -> Iterator[Finding]:
    """Site and key first; without them nothing else can be asked."""
    first = list(guarded("chargebee credentials", lambda: _site(clients)))
    yield from first
    if any(one.verdict == "failure" and one.check == "chargebee credentials" for one in first):
        return
    yield from guarded("chargebee rights", lambda: _chargebee_rights(clients))
    yield from guarded("metered billing", lambda: _metered_billing(clients))
    yield from _clock("chargebee clock", clients.chargebee.transport)
    yield from guarded("chargebee time", lambda: _site_time(clients))


def m3ter_checks(clients: Clients, settings: Settings) -> Iterator[Finding]:
    """Organisation and key first; without them nothing else can be asked."""
    first = list(guarded("m3ter credentials", lambda: _organization(clients)))
    yield from first
    if any(one.verdict == "failure" for one in first):
        return
    yield from guarded("m3ter rights", lambda: _m3ter_rights(clients))
    yield from guarded("mapping names", lambda: _names(clients))
    yield from guarded("native integration", lambda: _native(clients))
    site = Site(settings.chargebee_site, settings.site_in_ids)
    yield from guarded("other sites", lambda: _other_sites(clients, site))
    yield from _clock("m3ter clock", clients.m3ter.transport)


# --- Chargebee ----------------------------------------------------------------------------


def _site(clients: Clients) -> Iterator[Finding]:
    site = clients.chargebee.configuration()
    clients.site_name = site.domain
    yield ok("chargebee credentials", f"site {site.domain} answers")
    if site.product_catalog_version == "v2":
        yield ok("product catalog", "version 2.0")
    else:
        found = f"the site runs Product Catalog {site.product_catalog_version}"
        yield failure("product catalog", f"MB-SITE: {found}", CODES["MB-SITE"].remedy)


def _chargebee_rights(clients: Clients) -> Iterator[Finding]:
    for resource in CHARGEBEE_LISTS:
        next(clients.chargebee.pages(resource, limit=1), None)
    request = chargebee_requests.add_charge(
        NO_INVOICE,
        amount=1,
        description="meterbridge doctor",
        date_from=1,
        date_to=2,
        subscription_id=None,
        comment=None,
    )
    try:
        clients.chargebee.send(
            request, idempotency_key=f"{NO_INVOICE}-{time.time_ns()}", resend_until=time.monotonic() + 30
        )
    except RecordRefused:
        yield ok("chargebee rights", f"reads {', '.join(CHARGEBEE_LISTS)}; may write invoices")
    except SetupError as trouble:
        yield failure("chargebee rights", trouble.message, "Use a full-access API key: `sync bills` adds charges.")


def _metered_billing(clients: Clients) -> Iterator[Finding]:
    check = "metered billing"
    draft = next(clients.chargebee.rows("invoices", {"status[is]": "pending"}, limit=1), None)
    if draft is not None:
        yield ok(check, f"on: invoice {draft['invoice']['id']} is pending")
        return
    item = next(clients.chargebee.rows("items", {"metered[is]": "true"}, limit=1), None)
    if item is not None:
        yield ok(check, f"on: item {item['item']['id']} is metered; no invoice is pending now")
        return
    recent = islice(clients.chargebee.rows("subscriptions", {"status[is]": "active"}, limit=100), 100)
    if any(row["subscription"].get("create_pending_invoices") for row in recent):
        yield ok(check, "subscriptions create pending invoices; none is pending now")
        return
    yield warning(
        check,
        "no sign of it: no pending invoice, no metered item, no subscription that creates pending invoices",
        "In Chargebee see Settings → Billing LogIQ → Metered Billing; subscriptions need create_pending_invoices.",
    )


def _site_time(clients: Clients) -> Iterator[Finding]:
    """Where in time a test site is: its records are dated there, whatever its answers' Date header says."""
    now = time.time() + (clients.chargebee.transport.server_offset() or 0)
    site = site_time(clients.chargebee, clients.site_name, now)
    if site.shown is None:
        yield ok("chargebee time", "the site does not travel in time")
        return
    ahead = "ahead of" if site.now > now else "behind"
    found = (
        f"the site travels with Time Machine: it is {site.shown} there, {words.age(abs(site.now - now))} {ahead} now"
    )
    remedy = "Runs compare Chargebee's dates with that instant. Start with an empty ledger when it starts afresh."
    yield warning("chargebee time", found, remedy)


def _clock(check: str, transport: Transport) -> Iterator[Finding]:
    offset = transport.server_offset()
    if offset is None:
        return
    if abs(offset) > CLOCK_WARNING_SECONDS:
        ahead = "ahead of" if offset > 0 else "behind"
        found = f"{words.age(abs(offset))} {ahead} this machine's"
        yield warning(check, found, "Runs follow the vendors' clock; set this machine's by NTP.")
    else:
        yield ok(check, f"within {CLOCK_WARNING_SECONDS} s of this machine's")


# --- m3ter ----------------------------------------------------------------------------------


def _organization(clients: Clients) -> Iterator[Finding]:
    organization = clients.m3ter.organization_config()
    yield ok("m3ter credentials", f"the organisation answers; currency {organization.currency}")
    if organization.allow_overlapping_plans:
        yield ok("overlapping plans", "allowed: several subscriptions of a customer may use one product")
    else:
        yield ok("overlapping plans", "not allowed: a second subscription on a product follows on_product_overlap")


def _m3ter_rights(clients: Clients) -> Iterator[Finding]:
    for below in M3TER_LISTS:
        next(clients.m3ter.list(below, page_size=1), None)
    lacking = [(what, trouble) for below, what in M3TER_WRITES.items() if (trouble := _refused(clients, below))]
    for what, trouble in lacking:
        found = f"may not write {what}: {trouble.message}"
        yield failure("m3ter rights", found, f"Give the service user rights to create and change {what}.")
    if not lacking:
        read = ", ".join(name.strip("/") for name in M3TER_LISTS)
        yield ok("m3ter rights", f"reads {read}; may write {', '.join(M3TER_WRITES.values())}")


def _refused(clients: Clients, below: str) -> SetupError | None:
    """Return the error that says we may not write these; a write without a single field can only be refused."""
    address = path("organizations", clients.m3ter.organization_id, below)
    try:
        clients.m3ter.send(Request("POST", address, "{}", "application/json"))
    except RecordRefused:
        return None
    except SetupError as trouble:
        return trouble
    return None


def _names(clients: Clients) -> Iterator[Finding]:
    configuration = clients.m3ter.mapping_configuration()
    missing = sorted(set(NEEDED_NAMES) - set(mapping_names(configuration, NEEDED_NAMES)))
    if missing:
        found = f"not permitted: {', '.join(NEEDED_NAMES[role][0] for role in missing)}"
        yield failure("mapping names", found, "Permit them for the system Chargebee in m3ter's mapping settings.")
    lacking = sorted(set(MAPPING_NAMES) - set(mapping_names(configuration)))
    if lacking:
        found = f"m3ter permits no name for {', '.join(lacking)}: those mappings are kept in the ledger alone"
        yield warning("mapping names", found, "Permit e.g. BillLineItem and InvoiceLineItem, or leave it so.")
    elif not missing:
        yield ok("mapping names", ", ".join(mapping_names(configuration).values()))


def _other_sites(clients: Clients, site: Site) -> Iterator[Finding]:
    """Tell whose accounts are in the organisation beside those of this site, as far as they carry one."""
    found: Counter[str] = Counter()
    for account in islice(clients.m3ter.accounts(), MOST_ACCOUNTS):
        found[site.other(account) or ""] += 1
    del found[""]
    if not found:
        yield ok("other sites", "no account carries another Chargebee site")
        return
    named = ", ".join(f"{count} of site {name}" for name, count in sorted(found.items()))
    if site.in_ids:
        yield ok("other sites", f"accounts {named}; codes and external ids of this one begin with {site.prefix!r}")
        return
    remedy = (
        "Set METERBRIDGE_SITE_IN_IDS=true in one of the connections before both sites have a customer id in common."
    )
    yield warning("other sites", f"the organisation has accounts {named}", remedy)


def _native(clients: Clients) -> Iterator[Finding]:
    active = sending_bills(clients.m3ter.integration_configs(), ())
    if active:
        found = f"MB-NATIVE: enabled: {', '.join(active)}; bills would be invoiced twice"
        yield failure("native integration", found, CODES["MB-NATIVE"].remedy)
    else:
        yield ok("native integration", "no enabled one sends bills to Chargebee")
