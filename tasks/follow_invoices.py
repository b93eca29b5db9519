"""Where the charges that the ledger holds are by now: drafts that closed, invoices that were voided, lines that went.

A draft gets another id as it closes, so the ledger's charges follow it to the final
invoice. Until that is in sight the draft is in transit: its lines count as standing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.chargebee.encoding import id_filters
from meterbridge.ledger import intents, mappings
from meterbridge.rules.finals import Final, GoneDraft, OurLine, Several, find_billed, find_final
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.records import Invoice, Key
from meterbridge.rules.standing import GONE, is_unbilled
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import instant
from tasks.bill_cases import invoice_of
from tasks.charges import wish, wish_of
from tasks.engine import task
from tasks.extract_bills import land_by_id
from tasks.runs import Run
from tasks.services import Services, services
from tasks.unbilled import land_billed

logger = logging.getLogger(__name__)

TRANSIT_SECONDS = 86_400
"""So long a draft's final invoice is searched for before a person is asked."""

Row = dict[str, Any]


@dataclass(slots=True)
class _Trail:
    """The charges that the ledger holds, by invoice, and what this run sees of the invoices."""

    work: Services
    run: Run
    file: Staging
    rows: dict[str, list[Row]]
    unproven: dict[str, list[OurLine]]
    seen: dict[str, Invoice]
    renamed: dict[str, str]

    @property
    def drafts(self) -> list[str]:
        """Invoices that were pending when the ledger last heard of them."""
        pending = {i for i, rows in self.rows.items() if any(_was_pending(row) for row in rows)}
        return sorted(pending | set(self.unproven))

    def look(self) -> None:
        """Read the landed invoices."""
        self.file.make("bills", "stg_invoices")
        self.seen = {row["id"]: invoice_of(row) for row in self.file.rows("select * from stg_invoices")}


@task(name="follow invoices")
def follow_invoices(run: Run) -> int:
    """Find where the ledger's charges stand now; returns how many stand elsewhere or otherwise than it knows.

    Lands the pending invoices, those updated in the window, and what is read by id;
    ``ref_charges`` follows, ``map_moved_charges`` holds what the ledger has to learn
    and ``ref_touched_bills`` the bills to decide again.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__invoices", "map_moved_charges", "ref_touched_bills")
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in file.rows("select * from ref_charges where line_id <> '' and carried is null"):
            rows[row["invoice_id"]].append(row)
        unbilled = [row for place in list(rows) if is_unbilled(place) for row in rows.pop(place)]
        trail = _Trail(work, run, file, rows, _unproven(work), {}, {})
        if not (trail.rows or trail.unproven or unbilled):
            return 0
        _land_lists(trail)
        trail.look()
        _land_doubtful(trail)
        trail.look()
        _land_finals(trail)
        billed = land_billed(work, file, unbilled)
        trail.look()
        moved = [*_follow(trail), *_follow_unbilled(trail, unbilled, billed)]
        _land_moves(trail, moved)
    logger.info("followed", extra={"run_id": run.run_id, "resource": "invoices", "count": len(moved)})
    return len(moved)


def repoint(run: Run) -> int:
    """Tell the ledger where its charges stand now, once their mappings are recorded; returns how many there are."""
    work = services(run.run_id)
    with opened(run.path) as file, work.ledger.write() as tx:
        rows = list(file.rows("select * from map_moved_charges"))
        for row in rows:
            if row["draft_id"] != row["invoice_id"] and not is_unbilled(row["draft_id"]):
                final = mappings.Mapping(
                    "invoice", (row["draft_id"],), row["invoice_id"], "", "", {}, run_id=run.run_id
                )
                mappings.put(tx, final)
            known = mappings.get(tx, "charge", key_from_text(row["key"])) if row["key"] else None
            if known is None or known.remote_id != row["old_line_id"]:
                continue
            learned = {
                "line_id": row["line_id"],
                "invoice_id": row["invoice_id"],
                "invoice_status": row["invoice_status"],
                "gone_since": None if row["gone_since"] is None else int(row["gone_since"]),
            }
            state = {**known.state, **learned}
            mappings.put(tx, replace(known, remote_id=row["line_id"], scope=row["invoice_id"], state=state))
        tx.commit()
    return len(rows)


def _unproven(work: Services) -> dict[str, list[OurLine]]:
    """Charges whose answer never came, by draft: they may show on the final invoice."""
    found: dict[str, list[OurLine]] = defaultdict(list)
    with work.ledger.read() as rx:
        for row in intents.open_rows(rx, ("charge",)):
            if row.state in ("sending", "unknown") and row.action == "create":
                found[row.payload["invoice_id"]].append(OurLine(row.key, "", wish(row)))
    return found


def _land_lists(trail: _Trail) -> None:
    chargebee, window = trail.work.chargebee, trail.run.window
    pending = (page.body for page in chargebee.pages("invoices", {"status[is]": "pending"}, sort_by="date"))
    trail.file.land_pages("invoices", pending)
    if window.since is not None and not trail.run.request.ids:
        changed = {"updated_at[after]": str(window.since), "include_deleted": "true"}
        trail.file.land_pages("invoices", (p.body for p in chargebee.pages("invoices", changed, sort_by="updated_at")))


def _land_doubtful(trail: _Trail) -> None:
    """Read by id what no list shows of our drafts, and invoices that a list shows without a line of ours."""
    missing = [draft for draft in trail.drafts if draft not in trail.seen]
    for draft in missing:
        found = trail.work.chargebee.invoice_or_none(draft)
        if found is not None and found.id != draft:
            trail.renamed[draft] = found.id
    doubtful = [i for i, rows in trail.rows.items() if i in trail.seen and not is_intact(trail.seen[i], rows)]
    land_by_id(trail.work, trail.file, sorted({*missing, *doubtful}))


def _land_finals(trail: _Trail) -> None:
    """The invoices of customers whose drafts went away, since the earliest of these; read without hold-back."""
    gone = [draft for draft in trail.drafts if draft not in trail.seen and draft not in trail.renamed]
    rows = [row for draft in gone for row in trail.rows.get(draft, ())]
    customers = {row["customer_id"] for row in rows if row["customer_id"]}
    customers |= _customers(trail, [draft for draft in gone if draft in trail.unproven])
    dates = [int(row["invoice_date"]) for row in rows if row["invoice_date"]]
    params = {"include_deleted": "true"}
    if dates:
        params["date[after]"] = str(min(dates) - 86_400)
    for some in id_filters("customer_id", sorted(customers)):
        pages = (page.body for page in trail.work.chargebee.pages("invoices", params | some, sort_by="date"))
        trail.file.land_pages("invoices", pages)


def _customers(trail: _Trail, drafts: Iterable[str]) -> set[str]:
    """Whose drafts these are, by the charges that were to go on them."""
    with trail.work.ledger.read() as rx:
        rows = intents.open_rows(rx, ("charge",))
    wanted = set(drafts)
    owners = {row.wanted.get("customer_id") for row in rows if row.payload.get("invoice_id") in wanted}
    return {owner for owner in owners if owner}


def _follow(trail: _Trail) -> Iterator[Row]:
    """What the ledger has to learn, charge by charge."""
    line_ids = {row["line_id"]: invoice_id for invoice_id, rows in trail.rows.items() for row in rows}
    for draft in sorted({*trail.rows, *trail.drafts}):
        rows = trail.rows.get(draft, [])
        invoice = trail.seen.get(trail.renamed.get(draft, draft))
        if invoice is not None and invoice.id == draft:
            known = (row for row in rows if row["invoice_status"] != invoice.status or row["gone_since"])
            yield from (_learned(row, invoice, row["line_id"]) for row in known)
        elif invoice is not None or draft in trail.drafts:
            taken = {line for line, where in line_ids.items() if where != draft}
            candidates = [invoice] if invoice is not None else _of_customer(trail, draft)
            found = find_final(_gone(draft, trail), candidates, known=trail.rows, taken=taken)
            yield from _moved(trail, draft, rows, found)


def _follow_unbilled(trail: _Trail, unbilled: Sequence[Row], gone: Sequence[Row]) -> Iterator[Row]:
    """Where charges that are unbilled no more stand now: on an invoice, or in no place that is in sight."""
    taken = {row["line_id"] for held in trail.rows.values() for row in held}
    for row in gone:
        found = find_billed(wish_of(row), trail.seen.values(), taken)
        if found is None:
            yield from _moved(trail, row["invoice_id"], [row], None)
        else:
            invoice, line_id = found
            taken.add(line_id)
            yield _learned(row, invoice, line_id)
    away = {row["key"] for row in gone}
    for row in unbilled:
        if row["gone_since"] and row["key"] not in away:  # a list had not shown it for a while: that is over
            yield {**_waits(trail, row), "gone_since": None, "draft": "found", "transit_until": None}


def _of_customer(trail: _Trail, draft: str) -> list[Invoice]:
    rows = trail.rows.get(draft, [])
    customers = {row["customer_id"] for row in rows if row["customer_id"]} or _customers(trail, [draft])
    return [invoice for invoice in trail.seen.values() if not customers or invoice.customer_id in customers]


def _gone(draft: str, trail: _Trail) -> GoneDraft:
    rows = trail.rows.get(draft, [])
    lines = [OurLine(key_from_text(row["key"]), row["line_id"], wish_of(row)) for row in rows]
    dates = [int(row["invoice_date"]) for row in rows if row["invoice_date"]]
    unproven = trail.unproven.get(draft, [])
    return GoneDraft(
        draft, rows[0]["currency"] if rows else None, instant(dates[0]) if dates else None, (*lines, *unproven)
    )


def _moved(trail: _Trail, draft: str, rows: Sequence[Row], found: Final | Several | None) -> Iterator[Row]:
    match found:
        case Final(invoice, line_ids):
            for row in rows:
                key: Key = key_from_text(row["key"])
                yield _learned(row, invoice, line_ids.get(key, str(row["line_id"])))
            if not rows:
                yield {"key": "", "draft_id": draft, "invoice_id": invoice.id, "invoice_status": invoice.status}
        case Several(invoices):
            for row in rows:
                named = [invoice.id for invoice in invoices]
                yield {**_waits(trail, row), "draft": "ambiguous", "candidates": named}
        case None:
            for row in rows:
                waits = _waits(trail, row)
                lost = trail.run.started_at - waits["gone_since"] >= TRANSIT_SECONDS
                yield {**waits, "draft": "lost" if lost else "transit"}


def _learned(row: Row, invoice: Invoice, line_id: str) -> Row:
    return {
        "key": row["key"],
        "draft_id": row["invoice_id"],
        "old_line_id": row["line_id"],
        "invoice_id": invoice.id,
        "line_id": line_id,
        "invoice_status": invoice.status,
        "gone_since": None,
        "draft": "found",
        "candidates": [],
        "transit_until": None,
    }


def _waits(trail: _Trail, row: Row) -> Row:
    since = int(row["gone_since"]) if row["gone_since"] else int(trail.run.started_at)
    here = {name: row[name] for name in ("key", "invoice_id", "line_id", "invoice_status")}
    away = {"gone_since": since, "transit_until": since + TRANSIT_SECONDS, "candidates": []}
    return {**here, **away, "draft_id": row["invoice_id"], "old_line_id": row["line_id"]}


def _land_moves(trail: _Trail, moved: Sequence[Row]) -> None:
    file = trail.file
    file.land_rows("map_moved_charges", moved)
    by_line = {(row["draft_id"], row["old_line_id"]): row for row in moved if row["key"]}
    before = list(file.rows("select * from ref_charges"))
    file.clear("ref_charges")
    after = []
    for row in before:  # what a line carries moves along with it
        learned = by_line.get((row["invoice_id"], row["line_id"]), {})
        after.append(row | {name: value for name, value in learned.items() if name in row and name != "key"})
    file.land_rows("ref_charges", after)
    standing: dict[str, list[Row]] = defaultdict(list)
    for row in after:
        if row["line_id"]:
            standing[row["invoice_id"]].append(row)
    touched = {row["bill_id"] for row in after if row["draft"] in ("lost", "ambiguous")}
    for invoice_id, rows in standing.items():
        invoice = trail.seen.get(invoice_id)
        if invoice is not None:
            touched |= {row["bill_id"] for row in rows if invoice.status in GONE or not _is_there(invoice, row)}
    file.land_rows("ref_touched_bills", ({"bill_id": bill_id} for bill_id in sorted(touched)))


def _is_there(invoice: Invoice, row: Row) -> bool:
    return (
        is_intact(invoice, [row])
        if row["carried"] is None
        else any(line.id == row["line_id"] for line in invoice.lines)
    )


def is_intact(invoice: Invoice, rows: Iterable[Row]) -> bool:
    """True if the ledger's charges (rows of ``ref_charges``) stand on the invoice as they were booked."""
    amounts = {line.id: line.amount for line in invoice.lines}
    return all(amounts.get(row["line_id"]) == int(row["amount"]) for row in rows)


def _was_pending(row: Row) -> bool:
    return row["invoice_status"] in (None, "pending")
