"""How ``sync bills --shadow`` shows people what it compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterbridge.cli.show import say, table
from meterbridge.cli.show_report import verdict

if TYPE_CHECKING:
    from tasks.report_shadow import ShadowReport


def shadow_table(report: ShadowReport) -> None:
    """Totals, then every bill, then every line that is not equal."""
    from tasks.report import money
    from tasks.report_shadow import cells_of, odd_lines

    verdict(report)

    def amounts(row: dict[str, int], currency: str) -> list[str]:
        return [money({"amount": row[name], "currency": currency}) for name in ("wanted", "found", "difference")]

    columns = ("we would charge", "is there", "difference")
    totals = [(currency, total["bills"], *amounts(total, currency)) for currency, total in report.totals.items()]
    table("What we would charge, and what is there", ("currency", "bills", *columns), totals, right=columns)
    bills = [
        (
            bill["bill_id"],
            "equal" if bill["equal"] else "DIFFERS",
            *amounts(bill, bill["currency"]),
            ", ".join(f"{count} {verdict}" for verdict, count in bill["counts"].items() if count),
        )
        for bill in report.bills
    ]
    table("Bill by bill", ("bill", "", *columns, "lines"), bills, right=columns)
    odd = [cells_of(line) for line in odd_lines(report)]
    if odd:
        names = ("bill", "line", "we would charge", "is there", "verdict", "where")
        table("Lines that differ", names, odd, right=names[2:4])
    for one in report.unreadable:
        say(f"bill {one['bill_id']} cannot be reckoned: {one['code']} {one['message']}")
    native = f"; m3ter's own integration is active: {', '.join(report.native)}" if report.native else ""
    say(f"nothing was written{native} · staging {report.staging} · {report.seconds:.1f} s")
