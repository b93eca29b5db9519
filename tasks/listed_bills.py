"""Read m3ter's list of bills: which ones changed, and which ones wait for their approval.

A bill that the ledger knows to be open is compared in every run, whatever the window. So one that is PENDING is put
among them when it is first seen, and remembered until it is approved or deleted; it is not read before that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from meterbridge.ledger import bills, facts, mappings
from meterbridge.ledger.transaction import Writer
from meterbridge.rules.accounts import excluded
from meterbridge.staging.database import Staging
from tasks.runs import Run
from tasks.services import Services

SEEN = "bills_pending_seen"
"""The first bill date since which every PENDING bill has been seen once: a fact of the ledger, and of a run."""

UNREAD = -1
"""Version of a bill that was seen in a list and not read."""

TOUCHED = (
    "select bill_id from ref_charges union select bill_id from ref_portions union select bill_id from ref_unproven "
    "union select bill_id from ref_settled"
)


def is_pending(bill: Mapping[str, Any]) -> bool:
    """True if the bill, as listed, awaits its approval."""
    return bill.get("status") == "PENDING"


def touched(file: Staging) -> frozenset[str]:
    """Bills of which the ledger knows more than that they are there: a change while PENDING matters of these alone."""
    return frozenset(row["bill_id"] for row in file.rows(TOUCHED))


def reach(run: Run, window_days: int) -> date:
    """The bill date from which a run compares: the window's, as of the last run that was settled."""
    last = run.started_at if run.window.since is None else min(run.started_at, run.window.since)
    return datetime.fromtimestamp(last - window_days * 86_400, UTC).date()


def open_since(work: Services, first: date, known: Mapping[str, bills.BillState], *, all_listed: bool) -> list[date]:
    """Bill dates of open bills, of which the list must tell: those that the ledger knows, and PENDING ones.

    The latter are listed once for a ledger that has never seen them all, and before the list of changes is: one that
    is approved in between is found by that.
    """
    dates = [date.fromisoformat(s.bill_date) for s in known.values() if not s.finished and not s.deleted]
    with work.ledger.read() as rx:
        seen = facts.get(rx, SEEN)
    if all_listed or (seen and date.fromisoformat(seen) <= first):
        return dates
    listed = work.m3ter.bills(
        bill_date_start=first, status="PENDING", exclude_line_items=True, include_bill_total=False
    )
    return dates + [date.fromisoformat(bill["billDate"]) for bill in listed if is_whole(bill)]


def is_whole(bill: Mapping[str, Any]) -> bool:
    """True if a listed bill tells enough to pass it over; one that does not is read by its id, and judged there."""
    try:
        date.fromisoformat(bill["billDate"])
        int(bill["version"])
    except (KeyError, TypeError, ValueError):
        return False
    return all(isinstance(bill.get(name), str) for name in ("status", "accountId"))


def differs(bill: Mapping[str, Any], known: bills.BillState | None, decided: Collection[str]) -> bool:
    """True if a listed bill is to be read: it is not as the ledger knows it, and that may matter."""
    if known is None:
        return str(bill["status"]) == "APPROVED"
    if is_pending(bill) and known.status == "PENDING" and bill["id"] not in decided:
        return False
    now = (int(bill["version"]), bill.get("lastCalculatedDate"), bill["status"], bool(bill.get("locked")))
    return now != (known.version, known.last_calculated, known.status, known.locked)


def left_out(work: Services) -> Callable[[Mapping[str, Any]], bool]:
    """True if the settings leave a listed bill's customer out: such bills are not even fetched."""
    settings = work.settings
    if not settings.accounts_only and not settings.accounts_except:
        return lambda _: False
    with work.ledger.read() as rx:
        rows = mappings.all(rx, "account", active_only=True)
        customers = {row.remote_id: str(row.state.get("customer_id") or row.key[0]) for row in rows}

    def is_left_out(bill: Mapping[str, Any]) -> bool:
        customer = customers.get(bill["accountId"]) or str(bill.get("accountCode") or "")
        return excluded(customer, settings) is not None

    return is_left_out


def land_pending(file: Staging, first: date, pending: Iterable[Mapping[str, Any]]) -> None:
    """Land PENDING bills that the ledger does not know, as listed, and since which bill date all were looked for."""
    file.clear("ref_pending_bills")
    file.land_rows("ref_pending_bills", pending)
    file.land_rows("run_facts", [{"name": SEEN, "value": first.isoformat()}])


def remember_pending(tx: Writer, file: Staging) -> None:
    """Put those of the run among the bills that the ledger knows, as unread and open."""
    pending = {row["id"]: row for row in file.rows("select * from ref_pending_bills order by id")}
    if pending:
        known = bills.by_id(tx)
        bills.put(tx, *(_unread(row) for name, row in pending.items() if name not in known))
    for row in file.rows("select distinct value from run_facts where name = $name", {"name": SEEN}):
        facts.put(tx, SEEN, row["value"])


def _unread(row: Mapping[str, Any]) -> bills.BillState:
    return bills.BillState(
        bill_id=row["id"],
        version=UNREAD,
        dt_last_modified=None,
        last_calculated=None,
        status="PENDING",
        locked=False,
        bill_date=row["billDate"],
        account_id=row["accountId"],
        currency=row["currency"] or "",
        total=None,
    )
