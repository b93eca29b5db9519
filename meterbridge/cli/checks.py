"""The checks of ``meterbridge doctor``, from this machine outwards: versions, settings, ledger, both vendors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata

from meterbridge.catalog import Catalog, load_catalog
from meterbridge.cli.catalog_checks import catalog_at_vendors
from meterbridge.cli.findings import Finding, failure, guarded, ok, warning
from meterbridge.cli.vendor_checks import Clients, chargebee_checks, connected, m3ter_checks
from meterbridge.errors import CODES, SetupError
from meterbridge.ledger import connections, facts
from meterbridge.ledger.schema import HEAD
from meterbridge.settings import Settings, load_settings
from tasks.ledger_opening import open_ledger
from tasks.ledger_trust import notices

PYTHONS = ((3, 11), (3, 14))
FASTAPI_CAP = (0, 151)
PREFECT_FIXED = (3, 9)


def examine() -> list[Finding]:
    """Run every check that can run; what a failed one stands in the way of is left out."""
    findings = list(guarded("versions", _versions))
    try:
        settings = load_settings()
        findings.append(ok("settings", f"read; connection {settings.connection}, home {settings.home}"))
    except SetupError as trouble:
        return [*findings, failure("settings", f"{trouble.code}: {trouble.message}", trouble.remedy)]
    catalogs: list[Catalog] = []
    findings += guarded("catalog", lambda: _catalog(settings, catalogs))
    findings += guarded("ledger", lambda: _ledger(settings))
    try:
        settings.require_vendors()
    except SetupError as trouble:
        return [*findings, failure("credentials", f"{trouble.code}: {trouble.message}", trouble.remedy)]
    with connected(settings) as clients:
        findings += _vendors(settings, clients, catalogs)
    return findings


def _vendors(settings: Settings, clients: Clients, catalogs: list[Catalog]) -> list[Finding]:
    at_chargebee = list(chargebee_checks(clients))
    at_m3ter = list(m3ter_checks(clients, settings))
    reached = not any(one.verdict == "failure" and one.check.endswith("credentials") for one in at_chargebee + at_m3ter)
    findings = [*at_chargebee, *at_m3ter]
    if reached:
        findings += guarded("first bill date", lambda: _bound(settings, clients))
        for catalog in catalogs:
            findings += guarded("catalog ids", lambda c=catalog: catalog_at_vendors(clients, c))  # type: ignore[misc]
    return findings


def _versions() -> Iterator[Finding]:
    running = sys.version_info[:2]
    named = ".".join(map(str, running))
    if PYTHONS[0] <= running <= PYTHONS[1]:
        yield ok("python", named)
    else:
        yield failure("python", f"{named} is not supported", "Use Python 3.11 to 3.14.")
    prefect, fastapi = metadata.version("prefect"), metadata.version("fastapi")
    if _parts(prefect) < PREFECT_FIXED and _parts(fastapi) >= FASTAPI_CAP:
        yield failure(
            "prefect",
            f"Prefect {prefect} with FastAPI {fastapi}: its server may not start, and the first flow dies",
            'Take Prefect 3.9, or install "fastapi<0.151" beside this one.',
        )
    else:
        yield ok("prefect", f"Prefect {prefect} with FastAPI {fastapi}")


def _parts(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def _catalog(settings: Settings, read: list[Catalog]) -> Iterator[Finding]:
    catalog = load_catalog(settings.catalog_path)
    read.append(catalog)
    shown = f"{settings.catalog_path}: {len(catalog.plans)} plans, {len(catalog.charges)} charges"
    if catalog.plans:
        yield ok("catalog", shown)
    else:
        yield warning("catalog", f"{shown}; nothing would be synced", "Map item prices to m3ter plans in it.")


def _ledger(settings: Settings) -> Iterator[Finding]:
    ledger = open_ledger(settings)
    try:
        yield ok("ledger", f"{ledger.url_text}, schema {HEAD}")
        for told in notices(settings, ledger):
            tell = failure if told["code"] == "MB-LEDGER-BEHIND" else warning
            yield tell("ledger", f"{told['code']}: {told['message']}", CODES[told["code"]].remedy)
    finally:
        ledger.close()


def _bound(settings: Settings, clients: Clients) -> Iterator[Finding]:
    """Tell if the ledger belongs to this pair, and if the first bill date is known."""
    ledger = open_ledger(settings)
    try:
        with ledger.write() as tx:
            # Left without a commit: looking must not bind a new ledger.
            connections.bind(tx, clients.site_name or settings.chargebee_site, settings.m3ter_org_id)
        with ledger.read() as rx:
            kept = facts.get(rx, "bills_since")
    finally:
        ledger.close()
    if kept is None and settings.bills_since is None:
        yield warning(
            "first bill date",
            "not set: `sync bills` will stop and say what it would have charged",
            "Set METERBRIDGE_BILLS_SINCE to the first bill date that may be charged.",
        )
    else:
        yield ok(
            "first bill date", f"bills since {settings.bills_since or kept}; kept in the ledger: {kept or 'not yet'}"
        )
