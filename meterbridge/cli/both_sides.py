"""``meterbridge reconcile``: whether both sides agree, and the syncs of what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterbridge.cli import words
from meterbridge.cli.page import page
from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, console, table, write
from meterbridge.private_files import write_private
from meterbridge.rules.money import amount_text
from meterbridge.rules.repair import repairs
from meterbridge.settings import load_settings

if TYPE_CHECKING:
    from tasks.report import RunReport
    from tasks.report_differences import ReconcileReport


def reconcile(
    as_json: AsJson = False,
    bills: Annotated[
        bool,
        typer.Option("--bills", help="Show every bill: its total and what is charged for it, in minor units."),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the comparison to this file, too: one page with everything in it.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Sync what differs by its id, then compare again; edits by hand are undone."),
    ] = False,
) -> None:
    """Read both sides anew and compare: account plans item by item, charges to the minor unit."""
    with prefect_ready("reconcile"):
        from flows.reconcile import reconcile as compare

        report = compare()
        if repair:
            from flows.sync_bills import sync_bills
            from flows.sync_subscriptions import sync_subscriptions

            report = repaired(report, sync_subscriptions, sync_bills, compare)
    if html is not None:
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        write_private(html, page(report, connection=load_settings().connection, at=at))
    if as_json:
        write(report.model_dump(mode="json"))
    else:
        if bills:
            _show_bills(report)
        _show_differences(report)
    raise typer.Exit(report.exit_code)


def repaired(
    found: ReconcileReport,
    sync_subscriptions: Callable[..., RunReport],
    sync_bills: Callable[..., RunReport],
    compare: Callable[[], ReconcileReport],
) -> ReconcileReport:
    """Let the syncs decide anew what differs, by its ids, and compare again; nothing to do, nothing is run.

    What a sync waits with, proposes or sets aside stays so: the gate and every other setting hold. Only edits by
    hand in m3ter are undone whatever the settings say.

    Returns:
        The second comparison, with what was asked of the syncs and what they wrote.
    """
    asked = repairs(found.drift, found.explained)
    if not asked:
        return found
    reports = [
        *([sync_subscriptions(ids=list(asked.subscriptions), repair=True)] if asked.subscriptions else []),
        *([sync_bills(ids=list(asked.bills))] if asked.bills else []),
    ]
    applied = sum((Counter(one.applied) for one in reports), Counter[str]())
    again = compare()
    done = {"subscriptions": list(asked.subscriptions), "bills": list(asked.bills), "applied": dict(applied)}
    return again.model_copy(update={"repaired": done})


def _show_bills(report: ReconcileReport) -> None:
    columns = ("total", "charged", "settled by hand", "difference")
    rows = [
        (
            bill["bill_id"],
            bill["currency"],
            *(bill[name] for name in ("total", "charged", "settled", "difference")),
            "equal" if bill["equal"] else f"DIFFERS {bill['why']}".strip(),
        )
        for bill in report.bills
    ]
    table("Bill by bill, minor units", ("bill", "currency", *columns, ""), rows, right=columns)


def _show_differences(report: ReconcileReport) -> None:
    sides = ("bills want", "charged or settled", "difference")
    sums = [
        (currency, *(amount_text(total[name], currency) for name in ("wanted", "standing", "difference")))
        for currency, total in report.totals.items()
    ]
    if sums:
        table("Money on both sides", ("currency", *sides), sums, right=sides)
    if report.drift:
        columns = ("what", "record", "money", "wanted", "found")
        table("Differences", columns, [_difference(row) for row in report.drift], right=("money",))
    if report.explained:
        known = ("what", "record", "money", "why", "what to know")
        cells = [
            (*_difference(row)[:3], f"{row['why']} {row['code']}".strip(), row["message"]) for row in report.explained
        ]
        table("Known already, no drift", known, cells, right=("money",))
    if report.repaired:
        asked = f"{len(report.repaired['subscriptions'])} subscriptions and {len(report.repaired['bills'])} bills"
        wrote = ", ".join(f"{n} {kind}" for kind, n in report.repaired["applied"].items()) or "nothing"
        console().print(
            f"Synced {asked} that differed; wrote {wrote}. What follows was compared afterwards.", markup=False
        )
    looked = ", ".join(f"{count} {name}" for name, count in report.compared.items())
    said = f"{report.differences} differences in {looked} · staging {report.staging} · {report.seconds:.1f} s"
    console().print(said, markup=False)


def _difference(row: dict[str, Any]) -> tuple[str, str, str, str | None, str | None]:
    what = f"{row['disagreement']} {row['what']}".strip()
    return what, words.key(tuple(row["key"])), amount_text(row["money"], row["currency"]), row["wanted"], row["found"]
