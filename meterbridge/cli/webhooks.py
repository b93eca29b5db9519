"""``meterbridge webhooks``: tell both vendors where to send their events; idempotent by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import typer

from connectors.chargebee import endpoints
from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter import notifications
from connectors.m3ter.client import M3terClient
from meterbridge.cli.ledger_here import configure_logs, ledger_here
from meterbridge.cli.show import AsJson, table, write
from meterbridge.cli.vendor_checks import Clients, connected
from meterbridge.errors import SetupError
from meterbridge.ledger import inbox, malformed
from meterbridge.receiver import CHARGEBEE_PATH, M3TER_PATH
from meterbridge.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Where both vendors send their events.")

KINDS = {"rule": notifications.RULES, "webhook": notifications.WEBHOOKS, "link": notifications.LINKS}
Done = dict[str, str]
Vendor = Literal["chargebee", "m3ter"]
VENDORS: tuple[Vendor, ...] = ("chargebee", "m3ter")


@app.command()
def install(as_json: AsJson = False) -> None:
    """Create or correct the endpoint at Chargebee, and rule, webhook and link in m3ter."""
    with _asking() as work:
        settings = work.settings
        if not settings.webhook_url:
            raise SetupError("MB-SETTING", "METERBRIDGE_WEBHOOK_URL is not set: the vendors must know where to send")
        wanted = _wanted(settings)
        done: list[Done] = []
        if "chargebee" in wanted:
            done.append(_install_chargebee(work))
        if "m3ter" in wanted:
            done += _install_m3ter(work)
    _tell("Installed", done, as_json)


@app.command("list")
def list_installed(as_json: AsJson = False) -> None:
    """What is installed under our name, what waits in the inbox, and bodies that were no event."""
    with _asking() as work, ledger_here() as (_, ledger):
        found = [
            {"vendor": vendor, "what": what, "id": row["id"], "url": _masked(work.settings, str(row.get("url", "")))}
            for vendor, what, row in _installed(work)
        ]
        with ledger.read() as rx:
            backlog, refused = inbox.backlog(rx), malformed.all(rx)
    bodies = [
        {"source": row.body.source, "times": row.times, "reason": row.body.reason, "outline": row.body.outline}
        for row in refused
    ]
    if as_json:
        write({"installed": found, "waiting": backlog.waiting, "oldest": backlog.oldest, "malformed": bodies})
        return
    table("Installed", ("vendor", "what", "id", "url"), [tuple(row.values()) for row in found])
    table("Inbox", ("waiting",), [(backlog.waiting,)])
    if bodies:
        table(
            "Bodies that were no event", ("vendor", "times", "why", "outline"), [tuple(row.values()) for row in bodies]
        )


@app.command()
def remove(as_json: AsJson = False) -> None:
    """Take away what is installed under our name; events that are under way may still come."""
    with _asking() as work:
        done = []
        # The link goes before what it links.
        for vendor, what, row in sorted(_installed(work), key=lambda each: each[1] != "link"):
            if vendor == "chargebee":
                work.chargebee.transport.send(endpoints.delete_endpoint(row["id"]), repeatable=False)
            else:
                work.m3ter.send(notifications.delete(work.settings.m3ter_org_id, KINDS[what], row["id"]))
            done.append({"vendor": vendor, "what": what, "done": "removed"})
    _tell("Removed", done, as_json)


@dataclass(frozen=True, slots=True)
class Asking:
    """Settings, and clients of the vendors that can be asked."""

    settings: Settings
    clients: Clients
    vendors: tuple[Vendor, ...]

    @property
    def chargebee(self) -> ChargebeeClient:
        """Chargebee's client."""
        return self.clients.chargebee

    @property
    def m3ter(self) -> M3terClient:
        """m3ter's client."""
        return self.clients.m3ter


@contextmanager
def _asking() -> Iterator[Asking]:
    """Clients for the length of a block; a vendor without credentials is not asked.

    Raises:
        SetupError: MB-SETTING, no vendor can be asked.
    """
    settings = load_settings()
    configure_logs()
    vendors = tuple(vendor for vendor in VENDORS if not settings.missing(vendor))
    if not vendors:
        settings.require_vendors()
    with connected(settings) as clients:
        yield Asking(settings, clients, vendors)


def _wanted(settings: Settings) -> list[Vendor]:
    """The vendors whose webhook secrets are set.

    Raises:
        SetupError: MB-SETTING, there is none, or such a vendor's own credentials are missing.
    """
    secrets = {"chargebee": settings.webhook_password, "m3ter": settings.webhook_m3ter_path}
    wanted = [vendor for vendor in VENDORS if secrets[vendor].get_secret_value()]
    if not wanted:
        message = "neither METERBRIDGE_WEBHOOK_PASSWORD nor METERBRIDGE_WEBHOOK_M3TER_PATH is set"
        raise SetupError("MB-SETTING", message)
    if missing := [name for vendor in wanted for name in settings.missing(vendor)]:
        raise SetupError("MB-SETTING", f"{', '.join(missing)} not set")
    return wanted


def name_of(settings: Settings) -> str:
    """The name under which things are installed, one per connection."""
    return f"meterbridge-{settings.connection}"


def _installed(work: Asking) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(vendor, kind, row) of everything that has our name; twins are all named."""
    name = name_of(work.settings)
    if "chargebee" in work.vendors:
        for entry in work.chargebee.rows("webhook_endpoints"):
            row = entry["webhook_endpoint"]
            if row["name"] == name:
                yield "chargebee", "endpoint", row
    if "m3ter" in work.vendors:
        for what, below in KINDS.items():
            for page in work.m3ter.list(below):
                yield from (("m3ter", what, row) for row in page if row.get("name") == name)


def _install_chargebee(work: Asking) -> Done:
    settings = work.settings
    wanted = {
        "name": name_of(settings),
        "url": settings.webhook_url.rstrip("/") + CHARGEBEE_PATH,
        "user": settings.webhook_user,
        "password": settings.webhook_password.get_secret_value(),
    }
    here = next((row for vendor, _, row in _installed(work) if vendor == "chargebee"), None)
    request = endpoints.create_endpoint(**wanted)
    if here is not None:
        request = endpoints.update_endpoint(here["id"], **wanted)
    work.chargebee.transport.send(request, repeatable=here is not None)
    return {"vendor": "chargebee", "what": "endpoint", "done": "created" if here is None else "updated"}


def _install_m3ter(work: Asking) -> Iterator[Done]:
    settings, name = work.settings, name_of(work.settings)
    here = {what: row for vendor, what, row in _installed(work) if vendor == "m3ter"}
    url = settings.webhook_url.rstrip("/") + M3TER_PATH + settings.webhook_m3ter_path.get_secret_value()
    # Without a key m3ter still wants one to sign with; the path guards then.
    key = settings.webhook_m3ter_key.get_secret_value() or "unused"
    rule_id, done = _put(work, "rule", here.get("rule"), notifications.rule(name))
    yield done
    webhook_id, done = _put(work, "webhook", here.get("webhook"), notifications.webhook(name, url=url, key=key))
    yield done
    ends = notifications.link(name, rule_id=rule_id, webhook_id=webhook_id)
    yield _put(work, "link", here.get("link"), ends)[1]


def _put(work: Asking, what: str, here: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> tuple[str, Done]:
    """Create, or replace what differs; the id, and what was done. Credentials are not read back, so they are sent."""
    org, below = work.settings.m3ter_org_id, KINDS[what]
    if here is None:
        created = work.m3ter.send(notifications.create(org, below, wanted)).json()
        return str(created["id"]), {"vendor": "m3ter", "what": what, "done": "created"}
    if "credentials" in wanted or any(here.get(name) != value for name, value in wanted.items()):
        work.m3ter.send(notifications.update(org, below, here["id"], {**wanted, "version": here["version"]}))
        return str(here["id"]), {"vendor": "m3ter", "what": what, "done": "updated"}
    return str(here["id"]), {"vendor": "m3ter", "what": what, "done": "unchanged"}


def _masked(settings: Settings, url: str) -> str:
    """The URL as it may be shown: a secret path is hidden."""
    secret = settings.webhook_m3ter_path.get_secret_value()
    return url.replace(secret, "…") if secret else url


def _tell(title: str, done: list[Done], as_json: bool) -> None:
    if as_json:
        write({"webhooks": done})
    else:
        table(title, ("vendor", "what", "done"), [tuple(row.values()) for row in done])
