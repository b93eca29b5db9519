"""The imitated m3ter's rules for requests: tokens, limits, versions, lists; each test is one rule over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from meterbridge.sandbox import M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID, Sandbox
from tests.contract.sandbox_m3ter.conftest import ROOT, account, attach, made, refused, token


def test_token_is_asked_for_by_json_or_form_and_wrong_key_is_401(sandbox: Sandbox) -> None:
    url = f"{sandbox.m3ter_url}/oauth/token"
    grant = {"grant_type": "client_credentials"}
    key = (M3TER_API_KEY, M3TER_API_SECRET)
    assert httpx.post(url, auth=key, json=grant).json()["expires_in"] == 18_000
    assert "access_token" in httpx.post(url, auth=key, data=grant).json()
    refused(httpx.post(url, auth=(M3TER_API_KEY, "wrong"), json=grant), 401, "invalid client")
    refused(httpx.post(url, auth=key, json={"grant_type": "password"}), 400, "grant_type")
    sandbox.world.switches.m3ter_wrong_key_status = 403
    assert httpx.post(url, auth=(M3TER_API_KEY, "wrong"), json=grant).status_code == 403


def test_expired_token_and_foreign_organisation_are_403(sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {token(sandbox)}"}
    url = f"{sandbox.m3ter_url}{ROOT}/products"
    assert httpx.get(url, headers=headers).status_code == 200
    foreign = url.replace(M3TER_ORGANIZATION_ID, "00000000-0000-4000-8000-000000000000")
    assert httpx.get(foreign, headers=headers).status_code == 403
    sandbox.world.advance(18_001)
    assert httpx.get(url, headers=headers).status_code == 403
    assert httpx.get(url).status_code == 403


def test_request_beyond_the_limit_of_a_second_is_throttled(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.m3ter_per_second = 3
    assert [http.get("/products").status_code for _ in range(4)] == [200, 200, 200, 429]
    sandbox.world.advance(1)
    assert http.get("/products").status_code == 200


def test_body_above_512000_bytes_is_a_firewall_403_without_json(http: httpx.Client) -> None:
    answer = http.post("/measurements", content=b" " * 512_001)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "text/html"


def test_unknown_fields_and_parameters_are_refused_by_name_unless_lenient(sandbox: Sandbox, http: httpx.Client) -> None:
    body = {"name": "A", "code": "a", "emailAddress": "a@b.example", "emial": "x"}
    refused(http.post("/accounts", json=body), 400, "emial")
    refused(http.get("/accounts", params={"code": "a"}), 400, "code")
    sandbox.world.switches.lenient = True
    assert "emial" not in made(http.post("/accounts", json=body))
    assert http.get("/accounts", params={"code": "a"}).status_code == 200


def test_update_replaces_the_whole_object_and_checks_the_version(sandbox: Sandbox, http: httpx.Client) -> None:
    first = account(http, customFields={"tier": "gold"}, purchaseOrderNumber="7")
    assert first["version"] == 1
    whole = {name: value for name, value in first.items() if name not in ("customFields", "purchaseOrderNumber")}
    second = made(http.put(f"/accounts/{first['id']}", json=whole | {"name": "New"}))
    assert (second["version"], second["name"], second["dtCreated"]) == (2, "New", first["dtCreated"])
    assert "customFields" not in second
    assert "purchaseOrderNumber" not in second
    refused(http.put(f"/accounts/{first['id']}", json=whole), 400, "version")
    without = {name: value for name, value in whole.items() if name != "version"}
    refused(http.put(f"/accounts/{first['id']}", json=without), 400, "version")
    sandbox.world.switches.stale_version_status = 409
    refused(http.put(f"/accounts/{first['id']}", json=whole), 409, "version")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"emailAddress": None}, "emailAddress", id="no-email"),
        pytest.param({"code": " a"}, "code", id="outer-space-in-code"),
        pytest.param({"code": "x" * 81}, "code", id="long-code"),
        pytest.param({"currency": "ZZZ"}, "currency", id="undefined-currency"),
        pytest.param({"address": {"addressLine1": "x" * 51}}, "addressLine1", id="long-address"),
        pytest.param({"billEpoch": "2026-03-01T00:00:00Z"}, "billEpoch", id="date-time-for-a-date"),
        pytest.param({"parentAccountId": "0" * 36}, "parentAccountId", id="unknown-parent"),
    ],
)
def test_account_refuses(http: httpx.Client, change: dict[str, Any], words: str) -> None:
    body = {"name": "A", "code": "a", "emailAddress": "a@b.example"} | change
    refused(http.post("/accounts", json=body), 400, words)


def test_codes_of_accounts_clash_without_regard_to_case(sandbox: Sandbox, http: httpx.Client) -> None:
    account(http, "Acme")
    body = {"name": "A", "code": "acme", "emailAddress": "a@b.example"}
    refused(http.post("/accounts", json=body), 400, "code")
    sandbox.world.switches.duplicate_code_status = 409
    refused(http.post("/accounts", json=body), 409, "code")


def test_lists_are_newest_first_with_an_opaque_token(http: httpx.Client) -> None:
    codes = [account(http, f"c{number}")["code"] for number in range(5)]
    page = http.get("/accounts", params={"pageSize": 3}).json()
    assert [row["code"] for row in page["data"]] == ["c4", "c3", "c2"]
    page = http.get("/accounts", params={"pageSize": 3, "nextToken": page["nextToken"]}).json()
    assert [row["code"] for row in page["data"]][:2] == ["c1", "c0"]
    assert codes == ["c0", "c1", "c2", "c3", "c4"]
    refused(http.get("/accounts", params={"pageSize": 101}), 400, "pageSize")
    refused(http.get("/accounts", params={"pageSize": 0}), 400, "pageSize")
    refused(http.get("/accounts", params={"nextToken": "17"}), 400, "nextToken")


def test_filtered_list_pages_without_repeating_a_row(http: httpx.Client) -> None:
    owner = account(http)
    plans = [made(attach(http, owner, plan))["id"] for plan in ("api-pro-eur", "storage-eur", "messages-eur")]
    found: list[str] = []
    token = ""
    while len(found) < 9:
        page = http.get("/accountplans", params={"account": owner["id"], "pageSize": "1", "nextToken": token}).json()
        found += [row["id"] for row in page["data"]]
        token = page.get("nextToken", "")
        if not token:
            break
    assert found == plans[::-1]


def test_arrays_are_taken_repeated_or_joined_by_commas(http: httpx.Client) -> None:
    for code in ("a", "b", "c"):
        account(http, code)
    for query in ("codes=a&codes=c", "codes=a,c"):
        found = http.get(f"/accounts?{query}").json()["data"]
        assert [row["code"] for row in found] == ["c", "a"]
