"""The imitated m3ter with the demonstration's world, and how to ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID, Sandbox, scenarios
from meterbridge.sandbox.scenarios import month

ROOT = f"/organizations/{M3TER_ORGANIZATION_ID}"

JANUARY, MARCH, APRIL = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("demo")) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    sandbox.world.switches.m3ter_token_seconds = 10**8
    with httpx.Client(base_url=sandbox.m3ter_url + ROOT) as client:
        client.headers["Authorization"] = f"Bearer {token(sandbox)}"
        yield client


def token(sandbox: Sandbox) -> str:
    grant = {"grant_type": "client_credentials"}
    answer = httpx.post(f"{sandbox.m3ter_url}/oauth/token", auth=(M3TER_API_KEY, M3TER_API_SECRET), json=grant)
    return str(answer.json()["access_token"])


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


def exact(answer: httpx.Response) -> Any:
    return json.loads(answer.text, parse_float=Decimal)


def refused(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]


def account(http: httpx.Client, code: str = "cust-larkspur", **more: Any) -> dict[str, Any]:
    body = {"name": "Larkspur", "code": code, "emailAddress": "ap@larkspur.example", "currency": "EUR"}
    return made(http.post("/accounts", json=body | more))


def plan_id(http: httpx.Client, code: str) -> str:
    return str(next(row["id"] for row in http.get("/plans").json()["data"] if row["code"] == code))


def attach(http: httpx.Client, owner: dict[str, Any], plan: str = "api-pro-eur", **more: Any) -> httpx.Response:
    body = {"accountId": owner["id"], "planId": plan_id(http, plan), "startDate": JANUARY}
    return http.post("/accountplans", json=body | more)


def measure(**change: Any) -> dict[str, Any]:
    row = {"uid": "u1", "meter": "api_calls", "account": "cust-larkspur", "ts": "2026-03-02T07:00:00Z"}
    return {"measurements": [row | {"measure": {"calls": 218}} | change]}


def failures(http: httpx.Client) -> list[str]:
    found = http.get("/events", params={"eventName": "ingest.validation.failure"}).json()["data"]
    return [event["m3terEvent"]["eventData"]["newDto"]["type"] for event in found]


@pytest.fixture
def billed(sandbox: Sandbox, http: httpx.Client) -> dict[str, Any]:
    """The bill of March of the customer with fractional amounts."""
    attach(http, account(http, "cust-fractions"))
    report = month.use_and_bill(sandbox.world)
    assert (report.bills, report.approved) == (1, 1)
    return dict(exact(http.get("/bills", params={"includeBillTotal": "true"}))["data"][0])


BANDS = [
    {"lowerLimit": 0, "fixedPrice": 0, "unitPrice": Decimal("0.10")},
    {"lowerLimit": 100, "fixedPrice": 5, "unitPrice": Decimal("0.05")},
]
