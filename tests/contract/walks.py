"""Every endpoint of the sandbox walked once over HTTP, and every kind of refusal provoked.

A walk only makes the exchanges happen; what crossed is judged elsewhere.
"""

from __future__ import annotations

from typing import Any

import httpx

from meterbridge.sandbox import (
    CHARGEBEE_API_KEY,
    CHARGEBEE_READONLY_KEY,
    M3TER_API_KEY,
    M3TER_API_SECRET,
    M3TER_ORGANIZATION_ID,
    Sandbox,
)
from meterbridge.sandbox.m3ter.entities import READ_ONLY

GRANT = {"grant_type": "client_credentials"}
ROOT = f"/organizations/{M3TER_ORGANIZATION_ID}"
Row = dict[str, Any]

# Entities of m3ter with the five calls: what a copy of the first row needs so that it may stand beside it.
COPIES: dict[str, Row] = {
    "accounts": {"code": "copy", "name": "Copy"},
    "products": {"code": "copy", "name": "Copy"},
    "plantemplates": {"code": "copy", "name": "Copy"},
    "plans": {"code": "copy", "name": "Copy"},
    "pricings": {"code": "copy", "startDate": "2031-01-01T00:00:00Z"},
    "meters": {"code": "copy", "name": "Copy"},
    "aggregations": {"code": "copy", "name": "Copy"},
    "compoundaggregations": {"code": "copy", "name": "Copy"},
    "picklists/currency": {"code": "SEK", "name": "Swedish krona"},
    "externalmappings": {"externalId": "copy"},
    "notifications/configurations": {"code": "copy", "name": "Copy"},
    "integrationdestinations/webhooks": {"code": "copy", "name": "Copy"},
    "integrationconfigs": {"name": "Copy"},
}
_ANSWERED_ONLY = READ_ONLY | {"enabled", "authorized"}
# What an answer shows and the request of the same entity has no field for.
_DERIVED = {
    "plans": {"productId"},
    "pricings": {"planTemplateId"},
    "integrationdestinations/webhooks": set[str](),
}


def taken(answer: httpx.Response) -> Row:
    """The body of an answer that has to be a success."""
    assert answer.status_code == 200, f"{answer.request.method} {answer.request.url}: {answer.text}"
    body: Row = answer.json()
    return body


def m3ter_client(sandbox: Sandbox) -> httpx.Client:
    key = (M3TER_API_KEY, M3TER_API_SECRET)
    token = taken(httpx.post(f"{sandbox.m3ter_url}/oauth/token", auth=key, json=GRANT))["access_token"]
    return httpx.Client(base_url=sandbox.m3ter_url + ROOT, headers={"Authorization": f"Bearer {token}"})


def chargebee_client(sandbox: Sandbox, key: str = CHARGEBEE_API_KEY) -> httpx.Client:
    return httpx.Client(base_url=sandbox.chargebee_url, auth=(key, ""))


def walk_m3ter(sandbox: Sandbox) -> None:
    with m3ter_client(sandbox) as http:
        _add_what_the_world_lacks(http)
        for path, changes in COPIES.items():
            _five_calls(http, path, changes)
        _account_plans(http)
        _bills(http)
        _usage(http)
        for path in ("organizationconfig", "externalmappingconfiguration", "events"):
            taken(http.get(path))
        taken(http.get(f"events/{_first(http, 'events')['id']}"))
        config = taken(http.get("organizationconfig"))
        taken(
            http.put(
                "organizationconfig", json=_sendable(config, "organizationconfig") | {"version": config["version"]}
            )
        )
        mapping = _first(http, "externalmappings")
        taken(http.get(f"externalmappings/external/{mapping['m3terEntity']}/{mapping['m3terId']}"))
        taken(http.get(f"externalmappings/externalid/Chargebee/Customer/{mapping['externalId']}"))


def _first(http: httpx.Client, path: str, **params: str) -> Row:
    row: Row = taken(http.get(path, params=params))["data"][0]
    return row


def _sendable(row: Row, path: str) -> Row:
    return {name: value for name, value in row.items() if name not in _ANSWERED_ONLY | _DERIVED.get(path, set())}


def _add_what_the_world_lacks(http: httpx.Client) -> None:
    product = _first(http, "products")["id"]
    rule = {"name": "Approved", "code": "approved", "description": "A bill was approved"}
    rule |= {"eventName": "billing.bill.updated", "calculation": 'new.status == "APPROVED"', "active": False}
    rule_id = taken(http.post("notifications/configurations", json=rule))["id"]
    credentials = {"type": "M3TER_SIGNED_REQUEST", "apiKey": "key", "secret": "secret"}
    hook = {"name": "Hook", "code": "hook", "description": "Here", "url": "http://127.0.0.1:9/", "active": False}
    hook_id = taken(http.post("integrationdestinations/webhooks", json=hook | {"credentials": credentials}))["id"]
    link = {"name": "Link", "entityType": "Notification", "entityId": rule_id, "destination": "Webhook"}
    taken(http.post("integrationconfigs", json=link | {"destinationId": hook_id, "configData": {}}))
    evaluated = {"eventName": rule["eventName"], "calculation": rule["calculation"]}
    taken(http.post("notifications/evaluate", json=evaluated))
    compound = {"name": "Both", "code": "both", "productId": product, "calculation": "1", "unit": "calls"}
    taken(http.post("compoundaggregations", json=compound | {"rounding": "NONE", "quantityPerUnit": 1}))


def _five_calls(http: httpx.Client, path: str, changes: Row) -> None:
    row = _first(http, path)
    body = _sendable(taken(http.get(f"{path}/{row['id']}")), path)
    if path == "integrationdestinations/webhooks":
        body["credentials"] = {"type": "M3TER_SIGNED_REQUEST", "apiKey": "key", "secret": "secret"}
    taken(http.put(f"{path}/{row['id']}", json=body | {"version": row["version"]}))
    copy = taken(http.post(path, json=body | changes))
    taken(http.delete(f"{path}/{copy['id']}"))


def _account_plans(http: httpx.Client) -> None:
    standing = _first(http, "accountplans")
    for name in ("account", "plan"):
        taken(http.get("accountplans", params={name: standing[f"{name}Id"], "includeall": "true"}))
    taken(http.get(f"accounts/{standing['accountId']}/children"))
    address = {"name": "Walk", "code": "walk", "emailAddress": "walk@invalid.example", "currency": "EUR"}
    owner = taken(http.post("accounts", json=address))
    plan = next(row["id"] for row in taken(http.get("plans"))["data"] if row["code"] == "api-pro-eur")
    wanted = {"accountId": owner["id"], "planId": plan, "startDate": "2026-01-01T00:00:00Z"}
    made = taken(http.post("accountplans", json=wanted))
    made = taken(http.get(f"accountplans/{made['id']}"))
    taken(http.put(f"accountplans/{made['id']}", json=wanted | {"version": made["version"]}))
    after = taken(http.post(f"accountplans/{made['id']}/replace", json=wanted | {"startDate": "2026-02-01T00:00:00Z"}))
    for row_id in (after["newAccountPlan"]["id"], made["id"]):
        taken(http.delete(f"accountplans/{row_id}"))


def _bills(http: httpx.Client) -> None:
    bill = next(row for row in taken(http.get("bills"))["data"] if row["lineItems"])
    for path in (
        f"latest/{bill['accountId']}",
        f"accountid/{bill['accountId']}",
        bill["id"],
        f"{bill['id']}/lineitems",
    ):
        taken(http.get(f"bills/{path}"))
    line = bill["lineItems"][0]
    memo = {"amount": 5, "description": "Goodwill", "productId": line["productId"], "referencedBillId": bill["id"]}
    memo |= {"accountingProductId": line["productId"], "referencedLineItemId": line["id"]}
    memo |= {"servicePeriodStartDate": "2026-03-01T00:00:00Z", "servicePeriodEndDate": "2026-04-01T00:00:00Z"}
    taken(http.put(f"bills/{bill['id']}/status", json={"status": "PENDING"}))
    for kind in ("creditlineitems", "debitlineitems"):
        taken(http.post(f"bills/{bill['id']}/{kind}", json=memo))
    job = taken(http.post("billjobs/recalculate", json={"billIds": [bill["id"]]}))
    taken(http.get(f"billjobs/{job['id']}"))
    job = taken(http.post("billjobs", json={"billDate": "2026-05-01", "billingFrequency": "MONTHLY"}))
    taken(http.get("billjobs"))
    taken(http.post("bills/approve", json={"billIds": [bill["id"]]}))
    taken(http.put(f"bills/{bill['id']}/lock"))
    other = next(row for row in taken(http.get("bills"))["data"] if not row["locked"])
    taken(http.delete(f"bills/{other['id']}"))


def _usage(http: httpx.Client) -> None:
    row = {"uid": "w1", "meter": "api_calls", "account": "walk", "ts": "2026-03-02T07:00:00Z"}
    sent = {"measurements": [row | {"measure": {"calls": 218}}, row | {"meter": "nothing", "uid": "w2"}]}
    taken(http.post("measurements", json=sent))
    failure = _first(http, "events", eventName="ingest.validation.failure")
    file = failure["m3terEvent"]["eventData"]["newDto"]["getDownloadUrl"].partition("file=")[2]
    taken(http.get("measurements/failedIngest/getDownloadUrl", params={"file": file}))
    upload = {"fileName": "usage.json", "contentType": "application/json", "contentLength": 2}
    job = taken(http.post("fileuploads/measurements/generateUploadUrl", json=upload))
    taken(http.get(f"fileuploads/measurements/jobs/{job['jobId']}"))
    assert httpx.put(job["url"], content=b"[]", headers=job["headers"]).status_code == 200
    taken(http.get(f"fileuploads/measurements/jobs/{job['jobId']}"))


def refused_by_m3ter(sandbox: Sandbox) -> None:
    """400, 401, 403, 404, 409, 429, 500 and 503, each at least once."""
    url = f"{sandbox.m3ter_url}/oauth/token"
    _refused(httpx.post(url, auth=(M3TER_API_KEY, "wrong"), json=GRANT), 401)
    _refused(httpx.get(f"{sandbox.m3ter_url}{ROOT}/products", headers={"Authorization": "Bearer old"}), 403)
    with m3ter_client(sandbox) as http:
        _refused(http.get("products", params={"pageSize": "0"}), 400)
        _refused(http.get("accounts/00000000-0000-4000-8000-000000000000"), 404)
        _refused(http.post("accounts", json={"code": "c"}), 400)
        switches = sandbox.world.switches
        switches.stale_version_status = 409
        row = _first(http, "products")
        _refused(http.put(f"products/{row['id']}", json={"name": "n", "code": row["code"], "version": 99}), 409)
        switches.m3ter_per_second = 1
        _refused([http.get("products") for _ in range(2)][-1], 429)
        switches.m3ter_per_second = 0
        for harm, status in (("status_500", 500), ("status_503", 503)):
            sandbox.world.faults.add([{"harm": harm}])
            _refused(http.get("products"), status)


def refused_by_chargebee(sandbox: Sandbox) -> None:
    """400, 401, 403, 404, 405, 409, 422, 429, 500 and 503, each at least once."""
    with chargebee_client(sandbox, "wrong") as http:
        _refused(http.get("customers"), 401)
    with chargebee_client(sandbox, CHARGEBEE_READONLY_KEY) as http:
        _refused(http.post("customers", data={"id": "x"}), 403)
    with chargebee_client(sandbox) as http:
        _refused(http.get("customers", params={"limit": "101"}), 400)
        _refused(http.post("customers", data={"id": "cust-larkspur"}), 400)
        _refused(http.get("invoices/none"), 404)
        _refused(http.put("customers", data={}), 405)
        closed = taken(http.get("invoices", params={"status[is]": "paid"}))["list"][0]["invoice"]
        charge = {"amount": "1", "description": "late"}
        _refused(http.post(f"invoices/{closed['id']}/add_charge", data=charge), 409)
        key = {"chargebee-idempotency-key": "walked"}
        taken(http.post("customers", data={"id": "keyed-1"}, headers=key))
        _refused(http.post("customers", data={"id": "keyed-2"}, headers=key), 422)
        switches = sandbox.world.switches
        switches.chargebee_per_minute = 1
        _refused([http.get("configurations") for _ in range(2)][-1], 429)
        switches.chargebee_per_minute = 0
        for harm, status in (("status_500", 500), ("status_503", 503)):
            sandbox.world.faults.add([{"harm": harm}])
            _refused(http.get("customers"), status)


def _refused(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
