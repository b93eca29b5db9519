"""The imitated m3ter's rules for measurements; each test is one rule over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from meterbridge.sandbox import Sandbox
from tests.contract.sandbox_m3ter.conftest import failures, made, measure, refused


def test_usage_for_an_unknown_code_makes_a_skeleton_account(http: httpx.Client) -> None:
    assert made(http.post("/measurements", json=measure())) == {"result": "accepted"}
    row = http.get("/accounts", params={"codes": "cust-larkspur"}).json()["data"][0]
    assert (row["code"], row["name"]) == ("cust-larkspur", "cust-larkspur-autocreated")
    http.post("/measurements", json=measure(account="CUST-larkspur", uid="u2"))
    assert failures(http) == ["InvalidAccountCode"]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        pytest.param({"meter": "nothing"}, "UndefinedMeter", id="meter"),
        pytest.param({"measure": {"other": 1}}, "MissingField", id="field"),
        pytest.param({"what": {"calls": "x"}}, "DuplicateField", id="twice"),
        pytest.param({}, "DuplicateUid", id="uid"),
    ],
)
def test_rejected_usage_is_accepted_first_and_shows_as_event(
    http: httpx.Client, change: dict[str, Any], failure: str
) -> None:
    made(http.post("/measurements", json=measure()))
    assert made(http.post("/measurements", json=measure(**change))) == {"result": "accepted"}
    assert failures(http) == [failure]


def test_uid_is_forgotten_after_35_days(sandbox: Sandbox, http: httpx.Client) -> None:
    made(http.post("/measurements", json=measure()))
    sandbox.world.advance(35 * 86_400 + 1)
    made(http.post("/measurements", json=measure()))
    assert failures(http) == []


def test_malformed_usage_is_400(http: httpx.Client) -> None:
    refused(http.post("/measurements", json={"measurements": []}), 400, "1 to 1000")
    refused(http.post("/measurements", json=measure(ts="2026-03-02")), 400, "ts")
    refused(http.post("/measurements", json=measure(uid="x" * 51)), 400, "uid")
    refused(http.post("/measurements", json=measure(account="")), 400, "account")
