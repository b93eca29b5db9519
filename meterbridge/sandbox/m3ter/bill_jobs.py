"""/billjobs: bills are generated, and generated again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from meterbridge.sandbox import rating
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.account_plans import interval
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.m3ter.periods import at_midnight, period_until
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

routes = Routes()
_MOST_RUNNING = 10
_EPOCHS = {"MONTHLY": "monthEpoch", "ANNUALLY": "yearEpoch", "WEEKLY": "weekEpoch", "DAILY": "dayEpoch"}
_UNFINISHED = ("PENDING", "INITIALIZING", "RUNNING")

BILL_JOB = entities.Kind(
    path="billjobs",
    name="BillJob",
    table=lambda state: state.bill_jobs,
    fields={
        "accountIds": fields.list_of(1, 100),
        "billingFrequency": fields.one_of("DAILY", "WEEKLY", "MONTHLY", "ANNUALLY"),
        "billFrequencyInterval": fields.integer(1, 365),
        "lastDateInBillingPeriod": fields.day,
        "billDate": fields.day,
    },
    required=(),
    event="billing.billjob",
    unique_code=False,
    identity=("type", "lastDateInBillingPeriod", "billingFrequency"),
)
entities.register(routes, BILL_JOB, listing=False, writes=False)


@dataclass(frozen=True, slots=True)
class Cycle:
    """Account plans of one account with an equal cycle are billed together. `days`: start, end, end of the next."""

    account_id: str
    frequency: str
    every: int
    days: tuple[date, date, date]

    @property
    def period(self) -> rating.Period:
        return rating.Period(*(at_midnight(day) for day in self.days))


@routes.get("/billjobs", *PAGING, "active", "status")
def list_bill_jobs(call: Call) -> Row:
    wanted = _UNFINISHED if call.flag("active") else call.many("status")
    return answer_page(call, Selection(call.state.bill_jobs, ("status", list(wanted)) if wanted else None))


@routes.post("/billjobs")
def create(call: Call) -> Row:
    row = entities.checked(call, BILL_JOB)
    for account_id in row.get("accountIds", []):
        if account_id not in call.state.accounts:
            raise refusal(400, f"accountIds: {account_id} does not exist")
    return _start(call, row | {"type": "CREATE"})


@routes.post("/billjobs/recalculate")
def recalculate(call: Call) -> Row:
    bill_ids = call.body.get("billIds") if isinstance(call.body, dict) else None
    if not isinstance(bill_ids, list) or not 1 <= len(bill_ids) <= 100:
        raise refusal(400, "billIds: must be a list of 1 to 100")
    for bill_id in bill_ids:
        call.existing(call.state.bills, bill_id, "Bill")
    return _start(call, {"type": "RECALCULATE", "billIds": bill_ids})


def _start(call: Call, row: Row) -> Row:
    running = [each for status in _UNFINISHED for each in call.state.bill_jobs.find("status", status)]
    if len(running) >= _MOST_RUNNING:
        raise refusal(429, "too many bill jobs are running")
    job = entities.insert(call.state, BILL_JOB, row | {"status": "PENDING", "pending": 0, "total": 0})
    world = call.world
    world.schedule(world.clock.now() + world.switches.bill_job_seconds, lambda: run(world, job["id"]))
    return job


def run(world: World, job_id: str) -> None:
    """Calculate the bills of a pending job; any other job is left as it is."""
    state = world.m3ter
    job = state.bill_jobs.get(job_id)
    if job is None or job["status"] != "PENDING":
        return
    if job["type"] == "RECALCULATE":
        bills = [bill for bill_id in job["billIds"] if (bill := state.bills.get(bill_id))]
        made = [again for bill in bills if (again := _recalculated(world, bill, job_id)) is not None]
    else:
        made = _generate(world, job)
    done = {"status": "COMPLETE", "total": len(made), "billIds": [bill["id"] for bill in made]}
    entities.overwrite(state, BILL_JOB, job | done, job)


@routes.post("/billjobs/{id}/cancel")
def cancel(call: Call, job_id: str) -> Row:
    job = call.existing(call.state.bill_jobs, job_id, "BillJob")
    if job["status"] not in _UNFINISHED:
        raise refusal(400, f"the bill job is {job['status']}")
    return entities.overwrite(call.state, BILL_JOB, job | {"status": "CANCELLED"}, job)


def _generate(world: World, job: Row) -> list[Row]:
    """One bill for each account, frequency and period; a locked one is left as it is."""
    state = world.m3ter
    today = datetime.fromtimestamp(world.clock.now(), tz=UTC).date()
    last = date.fromisoformat(job["lastDateInBillingPeriod"]) if "lastDateInBillingPeriod" in job else None
    last = last or today - timedelta(days=1)
    made = []
    accounts = job.get("accountIds") or [row["id"] for row in state.accounts.rows()]
    for account_id in accounts:
        for cycle, account_plans in cycles(world, account_id, last).items():
            if job.get("billingFrequency", cycle.frequency) != cycle.frequency:
                continue
            bill = _bill(world, cycle, account_plans, job)
            if bill is not None:
                made.append(bill)
    return made


def cycles(world: World, account_id: str, last_day: date) -> dict[Cycle, list[Row]]:
    """The account plans of an account by the latest billing cycle that is complete by the end of `last_day`."""
    state = world.m3ter
    account = state.accounts.get(account_id) or {}
    found: dict[Cycle, list[Row]] = {}
    for account_plan in state.account_plans.find("accountId", account_id):
        plan = state.plans.get(account_plan["planId"]) or {}
        template = state.plan_templates.get(plan["planTemplateId"]) or {}
        frequency, every = template["billFrequency"], template.get("billFrequencyInterval", 1)
        own = account_plan.get("billEpoch") or account.get("billEpoch")
        epoch = date.fromisoformat(own or state.organization[_EPOCHS[frequency]])
        cycle = Cycle(account_id, frequency, every, period_until(last_day, frequency, every, epoch))
        found.setdefault(cycle, []).append(account_plan)
    return found


def _bill(world: World, cycle: Cycle, account_plans: list[Row], job: Row) -> Row | None:
    state = world.m3ter
    start, end, _ = cycle.days
    account = state.accounts.get(cycle.account_id) or {}
    fresh = {
        "billJobId": job["id"],
        "accountId": account["id"],
        "accountCode": account["code"],
        "startDate": start.isoformat(),
        "endDate": end.isoformat(),
        "startDateTimeUTC": rfc3339(cycle.period.start),
        "endDateTimeUTC": rfc3339(cycle.period.end),
        "billDate": job.get("billDate", end.isoformat()),
        "dueDate": (end + timedelta(days=state.organization["daysBeforeBillDue"])).isoformat(),
        "externalInvoiceDate": _external_invoice_date(world, end).isoformat(),
        "billingFrequency": cycle.frequency,
        "billFrequencyInterval": cycle.every,
        "timezone": state.organization["timezone"],
        "currency": account.get("currency") or state.organization["currency"],
        "purchaseOrderNumber": account.get("purchaseOrderNumber"),
    }
    same = ("startDate", "endDate", "billingFrequency")
    bills = state.bills.find("accountId", account["id"])
    before = next((bill for bill in bills if all(bill[name] == fresh[name] for name in same)), None)
    active = [each for each in account_plans if _touches(each, cycle.period)]
    try:
        lines = rating.rate_account(state, active, cycle.period, fresh["currency"])
    except rating.MissingConversion as missing:
        state.emit("billing.bill.failure", {"id": account["id"], "message": str(missing)})
        return None
    if not lines and (before is None or state.organization.get("suppressedEmptyBills")):
        return None
    return _stored(world, (before or {}) | fresh, before, lines)


def _touches(account_plan: Row, period: rating.Period) -> bool:
    start, end = interval(account_plan)
    return start < period.next_end and period.start < end


def _external_invoice_date(world: World, end: date) -> date:
    last_day = world.m3ter.organization.get("externalInvoiceDate") == "LAST_DAY_OF_ARREARS"
    return end - timedelta(days=1) if last_day else end


def _recalculated(world: World, bill: Row, job_id: str) -> Row | None:
    start, end = date.fromisoformat(bill["startDate"]), date.fromisoformat(bill["endDate"])
    for cycle, account_plans in cycles(world, bill["accountId"], end - timedelta(days=1)).items():
        if cycle.days[:2] == (start, end) and cycle.frequency == bill["billingFrequency"]:
            return _bill(world, cycle, account_plans, {"id": job_id, "billDate": bill["billDate"]})
    return None


def _stored(world: World, row: Row, before: Row | None, lines: list[Row]) -> Row | None:
    """The bill with fresh lines: same id, next version, PENDING again. A locked one is skipped."""
    state = world.m3ter
    if before is not None and before["locked"]:
        return None
    bill_id = before["id"] if before else state.ids.uuid("Bill", row["accountCode"], row["startDate"], row["endDate"])
    now = rfc3339(world.clock.now_ms())
    kept = _line_ids(world, before)
    lines = [{"id": kept.get(_identity(line)) or _new_line_id(world, bill_id, line)} | line for line in lines]
    row = row | {
        "id": bill_id,
        "status": "PENDING",
        "locked": False,
        "createdDate": before["createdDate"] if before else now,
        "lastCalculatedDate": now,
        "currencyConversions": state.organization.get("currencyConversions", []),
        "jsonStatementGenerated": False,
        "csvStatementGenerated": False,
        "statementStale": False,
        "billTotal": rating.total(lines),
        "lineItems": lines,
        "dtApproved": None,
        "approvedBy": None,
    }
    saved = state.save(state.bills, row, before)
    state.emit("billing.bill.updated" if before else "billing.bill.created", saved, before)
    return saved


def _identity(line: Row) -> tuple[object, ...]:
    names = ("lineItemType", "planId", "pricingId", "servicePeriodStartDate", "servicePeriodEndDate")
    return tuple(line.get(name) for name in names)


def _line_ids(world: World, before: Row | None) -> dict[tuple[object, ...], str]:
    if before is None or world.switches.line_ids_on_recalculation == "renew":
        return {}
    return {_identity(line): line["id"] for line in before["lineItems"]}


def _new_line_id(world: World, bill_id: str, line: Row) -> str:
    return world.ids.uuid("BillLineItem", bill_id, *_identity(line))
