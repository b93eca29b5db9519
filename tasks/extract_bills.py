"""m3ter's bills that changed, and of Chargebee what they are charged on: subscriptions, drafts, invoices."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.chargebee.encoding import id_filters
from meterbridge.catalog import load_catalog
from meterbridge.errors import RecordRefused, SetupError
from meterbridge.ledger import bills, facts, intents, quarantine
from meterbridge.ledger.ledger import Reader
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract import land_subscriptions
from tasks.land_accounts import land_accounts, land_found
from tasks.ledger_trust import REBUILD
from tasks.listed_bills import differs, is_pending, is_whole, land_pending, left_out, open_since, reach, touched
from tasks.not_ours import now_ours
from tasks.runs import Run
from tasks.services import Services, services
from tasks.surplus_beside import surplus_beside
from tasks.unbilled import land_unbilled
from tasks.zero_bills import Listed, zero_bills

logger = logging.getLogger(__name__)

SINCE = "bills_since"
FEW_BILLS = 20
"""Up to this many bills new to the ledger their mappings are looked up one by one, beyond that by the whole list."""


@task(name="extract bills")
def extract_bills(run: Run) -> int:
    """Bills of the window whose version, calculation, status or lock differs from the ledger, with their lines."""
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_m3ter__bills", "raw_m3ter__bill_lines", "raw_m3ter__codes")
        wanted = run.request.ids or _wanted(work, run, file)
        with work.ledger.read() as rx:
            known = bills.by_id(rx)
        with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
            read = _named if run.request.by_name else _read
            _land(file, pool.map(lambda bill_id: read(work, bill_id, known.get(bill_id)), wanted))
            if run.request.ids and not run.request.shadow:
                with work.ledger.read() as rx:
                    beside = surplus_beside(rx, file, known)
                _land(file, pool.map(lambda bill_id: _read(work, bill_id, known.get(bill_id)), beside))
        landed = file.count("raw_m3ter__bills")
        if landed:
            _land_codes(work, file)
    logger.info("landed", extra={"run_id": run.run_id, "resource": "bills", "count": landed})
    return landed


def _land(file: Staging, found: Iterable[Mapping[str, Any]]) -> None:
    for bill in found:
        file.land_rows("raw_m3ter__bills", [bill])
        lines = ({**line, "billId": bill["id"]} for line in bill.get("lineItems") or ())
        file.land_rows("raw_m3ter__bill_lines", lines)


def _wanted(work: Services, run: Run, file: Staging) -> tuple[str, ...]:
    """Bills that changed at m3ter, or at Chargebee, or that a run has begun to charge."""
    changed = _approved(work, run) if run.request.shadow else _changed(work, run, file)
    touched = _column(file, "select bill_id from ref_touched_bills order by 1")
    return tuple(dict.fromkeys([*changed, *touched, *_column(file, BEGUN)]))


BEGUN = (
    "select bill_id from ref_unproven where kind = 'charge' union "
    "(select bill_id from ref_charges except select bill_id from ref_bill_states) order by 1"
)
"""Bills with a charge that no run has settled yet: whatever became of them since, nobody else would look."""


def since(work: Services) -> date | None:
    """The first bill date that is looked at; bills from before the date kept in the ledger are only proposed."""
    return work.settings.bills_since or kept_since(work)


def kept_since(work: Services) -> date | None:
    """The first bill date of the first run: no setting moves it."""
    with work.ledger.read() as rx:
        kept = facts.get(rx, SINCE)
    return date.fromisoformat(kept) if kept else None


def keep_since(run: Run) -> None:
    """Keep the first run's first bill date, before its first charge leaves."""
    work = services(run.run_id)
    first = since(work)
    if first is not None and kept_since(work) is None:
        with work.ledger.write() as tx:
            facts.put(tx, SINCE, first.isoformat())
            tx.commit()


def _read(work: Services, bill_id: str, known: bills.BillState | None = None) -> Mapping[str, Any]:
    """The bill; for one that is gone what the ledger knew of it, as DELETED and without lines."""
    try:
        return work.m3ter.bill(bill_id)
    except RecordRefused as refusal:
        if refusal.status != 404:
            raise
        return {
            "id": bill_id,
            "status": "DELETED",
            "version": known.version if known else 0,
            "accountId": known.account_id if known else None,
            "currency": known.currency if known else "",
            "billDate": known.bill_date if known else "1970-01-01",
            "lineItems": [],
        }


def _named(work: Services, bill_id: str, known: bills.BillState | None) -> Mapping[str, Any]:
    """As :func:`_read`, of a bill that a person named.

    Raises:
        SetupError: MB-COMMAND, neither m3ter nor the ledger knows such a bill.
    """
    remedy = "Check the id: it is the bill's id in m3ter."
    try:
        found = _read(work, bill_id, known)
    except RecordRefused as refusal:
        raise SetupError("MB-COMMAND", f"m3ter has no bill {bill_id!r}: {refusal.message}", remedy=remedy) from refusal
    if found["status"] == "DELETED" and known is None:
        raise SetupError("MB-COMMAND", f"m3ter has no bill {bill_id!r}, and none was there before", remedy=remedy)
    return found


def shadow_since(work: Services, run: Run) -> date:
    """The first bill date that a shadow run compares: asked for, set, or the window's."""
    if run.request.since is not None:
        return datetime.fromtimestamp(run.request.since, UTC).date()
    today = datetime.fromtimestamp(run.started_at, UTC).date()
    return since(work) or today - timedelta(days=work.settings.bill_window_days)


def _approved(work: Services, run: Run) -> tuple[str, ...]:
    """Every approved bill, whatever the ledger knows of it."""
    first = shadow_since(work, run)
    listed = work.m3ter.bills(bill_date_start=first, status="APPROVED", exclude_line_items=True)
    return tuple(reversed([bill["id"] for bill in listed]))


def _changed(work: Services, run: Run, file: Staging) -> tuple[str, ...]:
    first = since(work)
    window = reach(run, work.settings.bill_window_days)
    if first is None:
        raise SetupError("MB-BILLS-SINCE", _would_charge(work, window))
    with work.ledger.read() as rx:
        known = {} if run.flow == REBUILD else bills.by_id(rx)
        portions = bills.portions(rx)
        unproven = {row.key[0] for row in intents.open_rows(rx, ("charge_set",))}
        unproven |= {portion.bill_id for portion in portions if portion.state == "waiting"}
        again = _decided_again(rx, run, portions, known)
    everything = run.full or run.compares_all or first < (kept_since(work) or first)
    open_dates = open_since(work, first, known, all_listed=everything)
    start = min([first if everything else max(first, window), *open_dates])
    wanted: list[str] = []
    pending: list[Mapping[str, Any]] = []
    listed: set[str] = set()
    seen = Listed()
    passed_over, decided = left_out(work), touched(file)
    known_of = again | decided
    for bill in work.m3ter.bills(bill_date_start=start, exclude_line_items=True, include_bill_total=False):
        listed.add(bill["id"])
        whole = is_whole(bill)
        if whole and (passed_over(bill) or (bill["id"] not in known and date.fromisoformat(bill["billDate"]) < first)):
            continue
        before = known.get(bill["id"])
        if whole and is_pending(bill) and before is None:
            pending.append(bill)
        is_wanted = not whole or bill["id"] in again or differs(bill, before, decided)
        if is_wanted:
            wanted.append(bill["id"])
        if whole:
            seen.take(bill, new=is_wanted and before is None and bill["id"] not in known_of)
    land_pending(file, first, pending)
    zero = {bill["id"]: bill for bill in zero_bills(work.m3ter, seen)}
    _land(file, zero.values())
    gone = [s for s in known.values() if s.bill_id not in listed]
    # One known to be deleted is decided again like any other while something of it is set aside or under way.
    vanished = [s.bill_id for s in gone if _in_sight(s, start) or s.bill_id in unproven | again]
    return tuple(dict.fromkeys(one for one in [*reversed(wanted), *vanished] if one not in zero))


def _in_sight(state: bills.BillState, start: date) -> bool:
    return not state.deleted and date.fromisoformat(state.bill_date) >= start


def _decided_again(
    rx: Reader, run: Run, portions: Iterable[bills.Portion], known: Mapping[str, bills.BillState]
) -> set[str]:
    """Bills set aside, whole or in part, or with a portion that waits: decided again in every run.

    One that was none of ours is, once the ledger knows its account, and in a full run.
    """
    in_state: dict[str, set[str]] = defaultdict(set)
    for portion in portions:
        in_state[portion.state].add(portion.bill_id)
    strange = in_state["not_ours"]
    ours = strange if run.full else now_ours(rx, strange, known)
    waiting = in_state["waiting"] | in_state["quarantined"] | in_state["proposed"]
    return waiting | ours | {row.key[0] for row in quarantine.to_decide(rx) if row.kind == "charge"}


def _would_charge(work: Services, window: date) -> str:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    count = 0
    for bill in work.m3ter.bills(bill_date_start=window, status="APPROVED", exclude_line_items=True):
        count += 1
        sums[str(bill.get("currency") or "without a currency")] += Decimal(str(bill.get("billTotal") or "0"))
    totals = ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(sums.items())) or "nothing"
    return f"no first bill date is set; {count} approved bills since {window.isoformat()} would be charged: {totals}"


def _land_codes(work: Services, file: Staging) -> None:
    """Ids and codes of what the catalog's charges name; m3ter's bill lines have ids only."""
    paths = {
        "pricing": "/pricings",
        "aggregation": "/aggregations",
        "compound_aggregation": "/compoundaggregations",
    }
    charges = load_catalog(work.settings.catalog_path).charges
    for kind, path in paths.items():
        if any(getattr(charge, kind) is not None for charge in charges):
            for page in work.m3ter.list(path, exact=True):
                file.land_rows("raw_m3ter__codes", ({**row, "kind": kind} for row in page))


@task(name="find where bills belong")
def find_placements(run: Run) -> int:
    """Account plans that the ledger does not know, the subscriptions concerned, mappings of new bills."""
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_m3ter__account_plans", "raw_m3ter__external_mappings", "raw_chargebee__subscriptions")
        file.make("bills", "int_unplaced_accounts")
        unplaced = _column(file, "select account_id from int_unplaced_accounts order by 1")
        known = set(_column(file, "select account_id from ref_accounts"))
        ours = set(_column(file, "select account_plan_id from ref_account_plans"))
        file.clear("ref_other_sites")
        strange = [one for one in unplaced if one not in known]
        if strange:
            land_accounts(work, file, work.m3ter.accounts(ids=strange))
        elsewhere = set(_column(file, "select account_id from ref_other_sites"))
        for account_id in (one for one in unplaced if one not in elsewhere):
            if account_id not in known:
                _land_mappings(work, file, "Account", account_id)
            plans = [one for one in work.m3ter.account_plans(account_id) if one["id"] not in ours]
            file.land_rows("raw_m3ter__account_plans", plans)
            for plan in plans:
                _land_mappings(work, file, "AccountPlan", plan["id"])
        _land_bill_mappings(work, file, every=run.flow == REBUILD)
        file.make("bills", "int_placed_plans")
        wanted = _column(file, "select distinct subscription_id from int_placed_plans order by 1")
        return land_subscriptions(work, file, wanted, origin="placed") + _land_payers(work, file)


def _land_payers(work: Services, file: Staging) -> int:
    """Customers of billed accounts that no placed subscription belongs to any more."""
    file.make("subscriptions", "stg_customers")
    strangers = _column(
        file,
        "select distinct coalesce(a.owner_id, m.externalId, b.account_code) as owner from stg_bills as b "
        "left join ref_accounts as a on a.account_id = b.account_id "
        "left join raw_m3ter__external_mappings as m on m.m3terId = b.account_id and m.m3terEntity = 'Account' "
        "and m.externalTable = 'Customer' where owner not in (select id from stg_customers) order by 1",
    )
    landed = 0
    for some in id_filters("id", strangers):
        params = {**some, "include_deleted": "true"}
        pages = (page.body for page in work.chargebee.pages("customers", params, sort_by="created_at"))
        landed += file.land_pages("customers", pages)
    return landed


def _land_bill_mappings(work: Services, file: Staging, *, every: bool) -> None:
    new = _column(
        file,
        "select id from stg_bills where status = 'APPROVED' and id in (select id from int_new_bills) order by 1",
    )
    if len(new) <= FEW_BILLS and not every:
        for bill_id in new:
            _land_mappings(work, file, "Bill", bill_id)
        found = _column(file, "select m3terId from raw_m3ter__external_mappings where m3terEntity = 'Bill'")
        lines = _column(
            file, "select id from stg_bill_lines where list_contains($bills, bill_id) order by 1", bills=found
        )
        for line_id in lines:
            for entity in ("BillLineItem", "BillItem", "LineItem"):
                _land_mappings(work, file, entity, line_id)
    else:
        mappings = work.m3ter.external_mappings()
        land_found(work, file, (one for one in mappings if one.m3ter_entity not in ("Account", "AccountPlan")))


def _land_mappings(work: Services, file: Staging, entity: str, m3ter_id: str) -> None:
    land_found(work, file, work.m3ter.mappings_of(entity, m3ter_id))


@task(name="extract invoices")
def extract_invoices(run: Run) -> int:
    """All pending invoices; of customers with bills new to the ledger every invoice since the first service start.

    Invoices that hold lines of a bill to decide are read by id: what such a read does not show is gone.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        if not file.count("stg_bills"):
            return 0
        file.make("bills", "int_payers")
        landed = file.count("raw_chargebee__invoices")
        if not landed:  # nothing was followed
            pending = (p.body for p in work.chargebee.pages("invoices", {"status[is]": "pending"}, sort_by="date"))
            landed = file.land_pages("invoices", pending)
        for some in _new_payers(file):
            pages = (page.body for page in work.chargebee.pages("invoices", some, sort_by="date"))
            landed += file.land_pages("invoices", pages)
        holding = list(
            file.rows(
                "select invoice_id as id, bool_and(coalesce(invoice_status, 'pending') <> 'pending') as closed "
                "from ref_charges where line_id <> '' and coalesce(draft, 'found') = 'found' "
                "and coalesce(invoice_status, '') <> 'unbilled' "
                "and bill_id in (select id from stg_bills) group by all order by 1"
            )
        )
        closed = {row["id"] for row in holding if row["closed"]}
        landed += land_by_id(work, file, [row["id"] for row in holding], closed)
        if work.settings.no_pending_invoice == "unbilled":
            landed += _land_unbilled(work, file)
    logger.info("landed", extra={"run_id": run.run_id, "resource": "invoices", "count": landed})
    return landed


def land_by_id(work: Services, file: Staging, ids: Sequence[str], closed: Collection[str] = ()) -> int:
    """Land invoices as read one by one; returns how many landed.

    A draft that is not there (any more) is left out, for it may have closed; one of the
    ``closed`` ones that is not there was deleted, and lands as such.
    """
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        found = dict(zip(ids, pool.map(work.chargebee.invoice_or_none, ids), strict=True))
    entries = [{"invoice": one.model_dump(mode="json")} for one in found.values() if one is not None]
    deleted = [invoice_id for invoice_id, one in found.items() if one is None and invoice_id in closed]
    entries += [{"invoice": {"id": invoice_id, "status": "deleted", "deleted": True}} for invoice_id in deleted]
    return file.land_pages("invoices", [json.dumps({"list": entries}).encode()], origin="by id") if entries else 0


def _land_unbilled(work: Services, file: Staging) -> int:
    """Unbilled charges of bills new to the ledger, beside the invoices: what stands there is not charged again."""
    subscriptions = _column(
        file,
        "select distinct p.subscription_id from stg_bills as b left join stg_bill_lines as l on l.bill_id = b.id "
        "join int_placed_plans as p on p.account_id in (b.account_id, l.child_account_id) "
        "where b.id in (select id from int_new_bills) order by 1",
    )
    return land_unbilled(work, file, subscriptions)


def _new_payers(file: Staging) -> Iterator[dict[str, str]]:
    """Filters for invoices of the customers of bills new to the ledger, since the day before their first service."""
    row = next(
        file.rows(
            "select epoch(min(l.service_start::timestamptz))::bigint as start from stg_bill_lines as l "
            "where l.bill_id in (select id from int_new_bills)"
        )
    )
    customers = _column(
        file,
        "select customer_id as id from int_payers where bill_id in (select id from int_new_bills) union "
        "select distinct unnest([s.customer_id, c.invoice_owner_id]) as id from stg_bills as b "
        "left join stg_bill_lines as l on l.bill_id = b.id "
        "join int_placed_plans as p on p.account_id in (b.account_id, l.child_account_id) "
        "join stg_subscriptions as s on s.id = p.subscription_id "
        "left join stg_customers as c on c.id = s.customer_id "
        "where b.id in (select id from int_new_bills) order by 1",
    )
    known = [customer for customer in customers if customer is not None]
    for some in id_filters("customer_id", known):
        yield {**some, "date[after]": str(max(0, int(row["start"] or 0) - 86_400))}


def _column(file: Staging, query: str, **parameters: Any) -> list[str]:
    return [next(iter(row.values())) for row in file.rows(query, parameters or None)]
