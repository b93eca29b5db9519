"""``meterbridge demo``: both syncs on the sandbox, as a stranger should see them first."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterbridge.cli import show
from meterbridge.cli.prefect_ready import using
from meterbridge.cli.short_lived import ShortLivedServer
from meterbridge.errors import BrokenInvariant
from meterbridge.rules.keys import shown
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import writes
from meterbridge.settings import load_settings, refuse_all_but_loopback, use_environment

if TYPE_CHECKING:
    from meterbridge.sandbox import Sandbox
    from tasks.report import RunReport


def demo(
    folder: Annotated[Path | None, typer.Option(help="For ledger and staging files; default a temporary one.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sandbox's world.")] = 7,
) -> None:
    """Sync, rate, bill, charge, run it all again and reconcile, on a sandbox. Touches no real account."""
    started = time.monotonic()
    home = (folder or Path(tempfile.mkdtemp(prefix="meterbridge-demo-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    from meterbridge.sandbox import Sandbox
    from meterbridge.sandbox.scenarios import build

    with Sandbox(build("demo", seed=seed)) as sandbox:
        isolate(home, sandbox)
        server = ShortLivedServer()
        _say("The sandbox of both vendors listens on", sandbox.url)
        _say("Starting Prefect's ephemeral server …", "10–20 s")
        with using(server):
            reports = _walk(sandbox)
    _conclude(home, reports, time.monotonic() - started)


def isolate(home: Path, sandbox: Sandbox) -> None:
    """Forget the variables of vendors, meterbridge and Prefect; use the sandbox's; refuse all but loopback."""
    use_environment(
        {
            **sandbox.description(),
            "METERBRIDGE_HOME": str(home),
            "METERBRIDGE_ROOT": str(home),
            "METERBRIDGE_BILLS_SINCE": "2026-01-01",
            # The sandbox has no limits of its own unless told: the demo need not wait for real ones.
            "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": "60000",
            "METERBRIDGE_M3TER_REQUESTS_PER_SECOND": "1000",
            "METERBRIDGE_LOG_LEVEL": "ERROR",
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
    )
    os.chdir(home)  # Prefect reads prefect.toml, pyproject.toml and .env where it stands
    refuse_all_but_loopback(load_settings())


def _walk(sandbox: Sandbox) -> dict[str, RunReport]:
    from flows.reconcile import reconcile
    from flows.sync_bills import sync_bills
    from flows.sync_subscriptions import sync_subscriptions
    from meterbridge.sandbox.scenarios.month import use_and_bill

    reports: dict[str, RunReport] = {"sync subscriptions": sync_subscriptions()}
    month = use_and_bill(sandbox.world)
    _say(
        "A month passed in the sandbox:",
        f"{month.measurements} measurements, {month.bills} bills, {month.approved} approved",
    )
    reports["sync bills"] = sync_bills()
    reports["sync subscriptions again"] = sync_subscriptions()
    reports["sync bills again"] = sync_bills()
    reports["reconcile"] = reconcile()
    return reports


def _conclude(home: Path, reports: dict[str, RunReport], seconds: float) -> None:
    rows = []
    for step, report in reports.items():
        read = ", ".join(f"{count} {name}" for name, count in report.extracted.items())
        rows.append((step, read, writes(report.applied) or "nothing", len(report.waiting), len(report.quarantined)))
    show.table("What came, and what was done", ("step", "read", "written", "waiting", "set aside"), rows)
    aside = {(r["code"], tuple(r["key"])): r for report in reports.values() for r in report.quarantined}
    cells = [(code, shown(key), _money(row), row["message"]) for (code, key), row in sorted(aside.items())]
    show.table(
        "Set aside, and why (nothing else was stopped by it)", ("code", "record", "amount", "what to know"), cells
    )
    waiting = [(shown(r["key"]), _money(r), r["reason"]) for r in reports["sync bills"].waiting]
    if waiting:
        show.table("Waiting for their invoice", ("record", "amount", "why"), waiting)
    totals = getattr(reports["reconcile"], "totals", {})
    money = [(c, amount_text(t["wanted"], c), amount_text(t["standing"], c)) for c, t in sorted(totals.items())]
    show.table(
        "Money on both sides",
        ("currency", "bills want", "charged or settled"),
        money,
        right=("bills want", "charged or settled"),
    )
    again = reports["sync subscriptions again"].writes + reports["sync bills again"].writes
    differences = getattr(reports["reconcile"], "differences", -1)
    _say("Written when everything ran a second time:", again)
    _say("Differences found by reconcile:", differences)
    _say("Ledger:", home / "ledger.sqlite3")
    _say("Staging file of the bills run (a DuckDB file; README.md says how to ask it):", reports["sync bills"].staging)
    _say("Took", f"{seconds:.0f} s")
    if again or differences:
        raise BrokenInvariant(
            "MB-INVARIANT", f"the demo should end with 0 writes and 0 differences, not {again} and {differences}"
        )


def _money(row: dict[str, object]) -> str:
    from tasks.report import money

    return money(row)


def _say(what: str, value: object) -> None:
    show.say(f"{what} {value}")
