"""The deeds of a case's steps: the vendors' own calls, bills as m3ter would make them, a person's commands."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from meterbridge.cli.main import app
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter import bill_jobs
from meterbridge.sandbox.m3ter.bills import with_status
from meterbridge.sandbox.m3ter.measurements import ingest
from meterbridge.sandbox.m3ter.periods import at_midnight
from meterbridge.sandbox.table import Row
from tests.practice.scene import write_catalog
from tests.practice.words import instant, is_moment, minor, moment

if TYPE_CHECKING:
    from tests.practice.play import Play

_REFERENCE = re.compile(r"<(draft|invoice|bill|account plan|account|plan) ([^<>]+)>")
ADVANCE = 400
"""Virtual seconds before a run: what happened before is in every list, and in the run's window."""
OF_NO_PLAN = {
    "prepayment": "PREPAYMENT_DRAWDOWN",
    "balance": "BALANCE_CONSUMED",
    "credit memo": "CREDIT_MEMO",
    "debit memo": "DEBIT_MEMO",
    "minimum spend": "MINIMUM_SPEND",
    "ad hoc": "AD_HOC",
}
"""Lines of a bill that belong to no plan, by the words of the cases."""


def bridge(play: Play, said: Any) -> None:
    """The bridge runs: hears webhooks where it has them, then reads what its schedule reads."""
    play.world.advance(ADVANCE)
    play.run_bridge(full=bool((said or {}).get("full")))


def chargebee(play: Play, said: Mapping[str, Any]) -> None:
    """Calls of Chargebee's API, by path; a person's or another system's."""
    for path, fields in said.items():
        form: dict[str, Any] = {}
        for number, (item, quantity) in enumerate(dict((fields or {}).get("items") or {}).items()):
            form[f"subscription_items[item_price_id][{number}]"] = item
            form[f"subscription_items[quantity][{number}]"] = quantity or 1
        form |= {name: _sent(play, value) for name, value in (fields or {}).items() if name != "items"}
        done = play.people.chargebee(refer(play, path), **form)
        if done is None:
            raise ValueError(f"Chargebee refuses {path} {form}")


def row(play: Play, said: Mapping[str, Any]) -> None:
    """Fields of a row of Chargebee's, where the sandbox has no call for it: ``invoices/<invoice acme>``."""
    state = play.world.chargebee
    for path, fields in said.items():
        table, name = refer(play, path).split("/", 1)
        with play.world.lock:
            before = getattr(state, table).get(name)
            if before is None:
                raise ValueError(f"Chargebee has no {path}")
            state.save(getattr(state, table), before | {key: _sent(play, value) for key, value in fields.items()})


def m3ter(play: Play, said: Mapping[str, Any]) -> None:
    """Calls of m3ter's API: ``PUT bills/<bill acme 2026-04-01>/status``."""
    for call, body in said.items():
        method, path = call.split(" ", 1)
        told = None if body is None else json.loads(refer(play, json.dumps(body, default=str)))
        done = play.people.m3ter(method, refer(play, path), told)
        if done is None:
            raise ValueError(f"m3ter refuses {call} {told}")


def close(play: Play, said: str) -> None:
    """A draft becomes an invoice."""
    chargebee(play, {f"invoices/<draft {said}>/close": {}})


def use(play: Play, said: Mapping[str, Any]) -> None:
    """Usage of an account, by meter, at noon of the day before the step."""
    fields = {meter["code"]: meter["dataFields"][0]["code"] for meter in play.world.m3ter.meters.rows()}
    for account, amounts in said.items():
        at = moment(amounts["at"]) if "at" in amounts else play.world.clock.now() - 86_400
        for meter, amount in amounts.items():
            if meter == "at":
                continue
            if meter not in fields:
                raise ValueError(f"there is no meter {meter}; there are {', '.join(sorted(fields))}")
            play.counted += 1
            ts, measure = rfc3339(at * 1000), {fields[meter]: Decimal(str(amount))}
            ingest(
                play.world.m3ter,
                {"uid": f"use-{play.counted}", "meter": meter, "account": account, "ts": ts, "measure": measure},
            )


def bill_job(play: Play, said: Mapping[str, Any]) -> None:
    """m3ter rates what was used and calculates the bills of the periods that have ended."""
    state = play.world.m3ter
    ids = [_account(play, code)["id"] for code in said["accounts"]]
    play.people.m3ter("POST", "billjobs", {"accountIds": ids, "lastDateInBillingPeriod": str(said["until"])})
    play.world.advance(1)
    if said.get("approve", True):
        for bill in [one for name in ids for one in state.bills.find("accountId", name)]:
            if bill["status"] == "PENDING":
                with_status(state, bill, "APPROVED")


def bill(play: Play, said: Mapping[str, Any]) -> None:
    """A bill with lines as written here, in major units; one of the same account and period is calculated again."""
    state, world = play.world.m3ter, play.world
    account = _account(play, said["account"])
    start, end = (_day(said[name]) for name in ("from", "until"))
    before = next((b for b in state.bills.find("accountId", account["id"]) if _spans(b, start, end)), None)
    currency = said.get("currency") or account.get("currency") or state.organization["currency"]
    lines = said["lines"] if isinstance(said["lines"], list) else [{k: v} for k, v in said["lines"].items()]
    rows = [
        {"sequenceNumber": number} | _line(play, dict(line), (start, end), currency)
        for number, line in enumerate(lines, 1)
    ]
    fresh = {
        "accountId": account["id"],
        "accountCode": account["code"],
        "startDate": start.isoformat(),
        "endDate": end.isoformat(),
        "startDateTimeUTC": rfc3339(at_midnight(start)),
        "endDateTimeUTC": rfc3339(at_midnight(end)),
        "billDate": str(said.get("date", end)),
        "dueDate": (end + timedelta(days=30)).isoformat(),
        "externalInvoiceDate": end.isoformat(),
        "billingFrequency": "MONTHLY",
        "billFrequencyInterval": 1,
        "timezone": state.organization["timezone"],
        "currency": currency,
        "billJobId": state.ids.uuid("BillJob", play.counted),
    }
    play.counted += 1
    with world.lock:
        saved = bill_jobs._stored(world, (before or {}) | fresh, before, rows)
        if saved is None:
            raise ValueError(f"the bill of {said['account']} until {end} is locked")
        if said.get("approved", True):
            saved = with_status(state, saved, "APPROVED")
    if said.get("locked"):
        play.people.m3ter("PUT", f"bills/{saved['id']}/lock")


def _line(play: Play, told: dict[str, Any], days: tuple[date, date], currency: str) -> Row:
    """``{PLAN: amount}`` or a kind of :data:`OF_NO_PLAN`, with ``from``, ``until``, ``type``, ``says``."""
    start, end = (_day(told.pop(name, day)) for name, day in zip(("from", "until"), days, strict=True))
    kind, says, segment = told.pop("type", None), told.pop("says", None), told.pop("of_product", None)
    ((name, amount),) = told.items()
    state = play.world.m3ter
    exact = Decimal(str(amount))
    row: Row = {
        "lineItemType": kind or OF_NO_PLAN.get(name) or "USAGE",
        "description": says or name,
        "quantity": Decimal(1),
        "units": Decimal(1),
        "unit": "call",
        "averageUnitPrice": exact,
        "subtotal": exact,
        "currency": currency,
        "conversionRate": Decimal(1),
        "convertedSubtotal": exact,
        "servicePeriodStartDate": rfc3339(at_midnight(start)),
        "servicePeriodEndDate": rfc3339(at_midnight(end)),
    }
    if name in OF_NO_PLAN:
        return row | ({} if segment is None else _product(_one(state.products, "code", segment)))
    if name == "a plan made by hand":
        return row | {"planId": "a-plan-made-by-hand"} | _product(_one(state.products, "code", segment or "api"))
    plan = _one(state.plans, "code", name)
    row |= {"planId": plan["id"]} | _product(state.products.get(plan["productId"]) or {})
    pricing = next(iter(state.pricings.find("planId", plan["id"])), None)
    if pricing is None:
        return row | {"lineItemType": kind or "STANDING_CHARGE"}
    return row | {"pricingId": pricing["id"], "aggregationId": pricing["aggregationId"]}


def _product(product: Row) -> Row:
    facts = {"Id": product["id"], "Name": product["name"], "Code": product["code"]}
    return {f"{who}{name}": value for who in ("product", "accountingProduct") for name, value in facts.items()}


def approve(play: Play, said: Mapping[str, Any]) -> None:
    """A person approves all that the bridge proposes."""
    proposed = play.proposed()
    if not proposed:
        raise ValueError("nothing awaits an approval")
    for change_set in proposed:
        play.bridge.run("approve", change_set=change_set, by=said.get("by", "ann"))


def command(play: Play, said: str) -> None:
    """A command line of ours: what stands behind ``meterbridge``."""
    done = CliRunner().invoke(app, shlex.split(refer(play, said)), catch_exceptions=False)
    if done.exit_code not in (0, 3):
        raise ValueError(f"meterbridge {said} ends with {done.exit_code}: {done.output}")


def settings(play: Play, said: Mapping[str, Any]) -> None:
    """Settings change."""
    os.environ.update({name: str(value) for name, value in said.items()})


def switches(play: Play, said: Mapping[str, Any]) -> None:
    """The vendors behave otherwise from now on."""
    play.world.switches.update(dict(said))


def catalog(play: Play, said: Mapping[str, Any]) -> None:
    """The catalog map changes."""
    write_catalog(play.home, said)


ACTS: Mapping[str, Callable[[Play, Any], None]] = {
    one.__name__: one
    for one in (
        bridge,
        chargebee,
        row,
        m3ter,
        close,
        use,
        bill_job,
        bill,
        approve,
        command,
        settings,
        switches,
        catalog,
    )
}


# --- names that only the vendors know


def refer(play: Play, text: str) -> str:
    """The text with the ids of what it names: ``<draft acme-sub>``, ``<bill acme 2026-04-01>``."""
    return _REFERENCE.sub(lambda found: _FOUND[found[1]](play, *found[2].split()), text)


def _sent(play: Play, value: Any) -> Any:
    """A field as Chargebee takes it: minor units, epoch seconds."""
    amount = minor(value)
    if amount is not None:
        return amount
    if is_moment(value):
        return moment(value)
    return refer(play, value) if isinstance(value, str) else value


def invoices(play: Play, owner: str, day: str | None, *, pending: bool) -> list[Row]:
    """Invoices of a customer or a subscription, the oldest first."""
    found = [
        one
        for one in play.world.chargebee.invoices.rows()
        if not one["deleted"]
        and (one["status"] == "pending") == pending
        and (owner in (one["customer_id"], one.get("subscription_id")) or _has_line(one, owner))
        and (day is None or instant(one["date"])[:10] == day)
    ]
    return sorted(found, key=lambda one: (one["date"], one["id"]))


def _has_line(invoice: Row, owner: str) -> bool:
    return any(line.get("subscription_id") == owner for line in invoice["line_items"])


def _invoice(play: Play, owner: str, day: str | None = None, *, pending: bool = False) -> Row:
    found = invoices(play, owner, day, pending=pending)
    if not found:
        raise ValueError(f"there is no {'draft' if pending else 'invoice'} of {owner} {day or ''}")
    return found[-1]


def _draft_id(play: Play, owner: str, day: str | None = None) -> str:
    return str(_invoice(play, owner, day, pending=True)["id"])


def _invoice_id(play: Play, owner: str, day: str | None = None) -> str:
    return str(_invoice(play, owner, day)["id"])


def _account(play: Play, code: str) -> Row:
    return _one(play.world.m3ter.accounts, "code", code)


def _one(table: Any, name: str, value: str) -> Row:
    found = [one for one in table.rows() if one.get(name) == value]
    if not found:
        raise ValueError(f"m3ter has no {name} {value}; there are {', '.join(sorted(r[name] for r in table.rows()))}")
    return dict(found[0])


def _bill_id(play: Play, code: str, day: str) -> str:
    bills = play.world.m3ter.bills.rows()
    found = [one["id"] for one in bills if one["accountCode"] == code and one["endDate"] == day]
    if not found:
        raise ValueError(f"there is no bill of {code} until {day}")
    return str(found[-1])


def _plan_of(play: Play, external: str) -> str:
    """The newest account plan that is mapped to this external id."""
    mapped = [row["m3terId"] for row in play.world.m3ter.mappings.find("externalId", external)]
    plans = [row for row in play.world.m3ter.account_plans.rows() if row["id"] in mapped]
    return str(max(plans, key=lambda row: row["startDate"])["id"])


_FOUND: Mapping[str, Callable[..., str]] = {
    "draft": _draft_id,
    "invoice": _invoice_id,
    "bill": _bill_id,
    "account": lambda play, code: str(_account(play, code)["id"]),
    "account plan": _plan_of,
    "plan": lambda play, code: str(_one(play.world.m3ter.plans, "code", code)["id"]),
}


def _day(value: Any) -> date:
    return datetime.fromtimestamp(moment(value), UTC).date()


def _spans(bill: Row, start: date, end: date) -> bool:
    return (bill["startDate"], bill["endDate"]) == (start.isoformat(), end.isoformat())
