"""/accountplans: half-open intervals, one active plan per product and account."""

from __future__ import annotations

from collections.abc import Callable

from meterbridge.sandbox.clock import parse_rfc3339
from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
FOREVER = 2**62


def interval(row: Row) -> tuple[int, int]:
    """[start, end) in epoch milliseconds."""
    end = row.get("endDate")
    return parse_rfc3339(row["startDate"]), FOREVER if end is None else parse_rfc3339(end)


def _complete(call: Call, row: Row, before: Row | None) -> Row:
    if ("planId" in row) == ("planGroupId" in row):
        raise refusal(400, "exactly one of planId and planGroupId is needed")
    if "planGroupId" in row:
        raise refusal(400, "planGroupId: the sandbox has no plan groups")
    start, end = interval(row)
    if end <= start:
        raise refusal(400, "endDate: must be after startDate")
    if call.state.accounts.get(row["accountId"]) is None:
        raise refusal(400, f"accountId: {row['accountId']} does not exist")
    plan = call.state.plans.get(row["planId"])
    if plan is None:
        raise refusal(400, f"planId: {row['planId']} does not exist")
    if plan.get("accountId", row["accountId"]) != row["accountId"]:
        raise refusal(400, "planId: a bespoke plan belongs to another account")
    row = {"childBillingMode": "PARENT_BREAKDOWN"} | row | {"productId": plan["productId"]}
    if not call.state.organization.get("allowOverlappingPlans"):
        _check_overlap(call, row, {before["id"]} if before else set())
    return row


def _with_epoch(call: Call, row: Row, before: Row | None) -> Row:
    """An account plan that is written over may keep the billing epoch that it had."""
    if before is not None and call.world.switches.bill_epoch_change == "at_replacement":
        row = {name: value for name, value in row.items() if name != "billEpoch"}
        row |= {"billEpoch": before["billEpoch"]} if "billEpoch" in before else {}
    return _complete(call, row, before)


def _check_overlap(call: Call, row: Row, except_ids: set[str]) -> None:
    start, end = interval(row)
    for other in call.state.account_plans.find("accountId", row["accountId"]):
        if other["id"] in except_ids or other["productId"] != row["productId"]:
            continue
        other_start, other_end = interval(other)
        if start < other_end and other_start < end:
            raise refusal(400, "the account has an active plan of this product in the same period")


ACCOUNT_PLAN = entities.Kind(
    path="accountplans",
    name="AccountPlan",
    table=lambda state: state.account_plans,
    fields={
        "accountId": fields.uuid,
        "planId": fields.uuid,
        "planGroupId": fields.uuid,
        "startDate": fields.moment,
        "endDate": fields.moment,
        "code": fields.code,
        "billEpoch": fields.day,
        "contractId": fields.uuid,
        "childBillingMode": fields.one_of("PARENT_BREAKDOWN", "PARENT_SUMMARY", "CHILD"),
        "customFields": fields.custom_fields,
    },
    required=("accountId", "startDate"),
    event="configuration.accountplan",
    read_only=frozenset({"productId"}),
    complete=_with_epoch,
    identity=("accountId", "planId", "code", "startDate"),
)
entities.register(routes, ACCOUNT_PLAN, listing=False)


@routes.get("/accountplans", *PAGING, "account", "plan", "product", "contract", "date", "includeall", "ids")
def list_account_plans(call: Call) -> Row:
    """Active ones only, unless `includeall` comes with account, plan or contract, or `date` or `ids` is given."""
    account, plan, contract = call.one("account"), call.one("plan"), call.one("contract")
    if call.one("product") and not account:
        raise refusal(400, "product: only together with account")
    wanted = [("accountId", account), ("planId", plan), ("contractId", contract), ("productId", call.one("product"))]
    where: list[Callable[[Row], bool]] = [_equals(name, value) for name, value in wanted if value]
    ids = call.many("ids")
    if not ids and not (call.flag("includeall") and (account or plan or contract)):
        where.append(_active_at(call))
    table = call.state.account_plans
    if ids:
        return answer_page(call, Selection(table, ("id", ids), tuple(where)))
    by = next(((name, [value]) for name, value in wanted if value), None)
    return answer_page(call, Selection(table, by, tuple(where)))


def _equals(name: str, value: str) -> Callable[[Row], bool]:
    return lambda row: row.get(name) == value


def _active_at(call: Call) -> Callable[[Row], bool]:
    day = call.one("date")
    at = call.world.clock.now_ms()
    if day is not None:
        if fields.day(day):
            raise refusal(400, "date: must be a date (YYYY-MM-DD)")
        at = parse_rfc3339(f"{day}T00:00:00Z")

    def active(row: Row) -> bool:
        start, end = interval(row)
        return start <= at < end

    return active


@routes.post("/accountplans/{id}/replace")
def replace_account_plan(call: Call, row_id: str) -> Row:
    """The old one ends at the new one's start, in one call: nothing between, nothing twice."""
    before = call.existing(call.state.account_plans, row_id, "AccountPlan")
    row = entities.checked(call, ACCOUNT_PLAN)
    if row.get("accountId") != before["accountId"]:
        raise refusal(400, "accountId: must be the account of the replaced account plan")
    start, end = interval(before)
    at = parse_rfc3339(row["startDate"])
    if not start < at < end:
        raise refusal(400, "startDate: must lie inside the replaced account plan")
    wanted = row.get("code")
    if wanted is not None and call.state.account_plans.find("code", wanted):
        raise refusal(call.world.switches.duplicate_code_status, f"code: {wanted} is used by another AccountPlan")
    ended = before | {"endDate": row["startDate"]}
    # Given the old one as `before`, the overlap rule leaves it out: it will have ended. Nothing is stored yet.
    row = _complete(call, row, before)
    original = entities.overwrite(call.state, ACCOUNT_PLAN, ended, before)
    return {"originalAccountPlan": original, "newAccountPlan": entities.insert(call.state, ACCOUNT_PLAN, row)}
