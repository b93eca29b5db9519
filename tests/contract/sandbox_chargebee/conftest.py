"""The imitated Chargebee with the demonstration's world, and how to ask it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox, scenarios
from meterbridge.sandbox.clock import epoch

APRIL = epoch(2026, 4, 1)

MAY = epoch(2026, 5, 1)

MARCH = epoch(2026, 3, 1)

CHARGE = {
    "amount": "12345",
    "description": "API calls March [ref:1]",
    "line_item[date_from]": str(MARCH),
    "line_item[date_to]": str(APRIL - 1),
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("demo")) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as client:
        yield client


def rows(answer: httpx.Response, name: str) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [each[name] for each in answer.json()["list"]]


def every(http: httpx.Client, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
    found, offset = [], None
    while True:
        answer = http.get(path, params=params | ({"offset": offset} if offset else {}))
        found += rows(answer, name)
        offset = answer.json().get("next_offset")
        if offset is None:
            return found


def draft_of(http: httpx.Client, customer: str, date: int = APRIL) -> dict[str, Any]:
    found = rows(http.get("/invoices", params={"customer_id[is]": customer, "status[is]": "pending"}), "invoice")
    return next(invoice for invoice in found if invoice["date"] == date)


def in_april(sandbox: Sandbox) -> None:
    sandbox.world.advance_to(epoch(2026, 4, 12))


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["api_error_code"] == code
    assert body["http_status_code"] == status
    assert body["error_msg"] == body["message"]
    return body
