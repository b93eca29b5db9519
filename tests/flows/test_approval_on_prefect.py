"""The gate under a real Prefect server: the proposal as artifact and event, the approval by the deployment's form."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.test_prefect_server import BIN, ROOT, background, free_port, run, until
from tests.flows.test_prefect_server import world as world  # the fixture

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(420)]


@pytest.fixture
def served(world: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a Prefect server with the deployment approve_bills and a worker.

    Approval is required, and the site closes drafts so early that what is proposed may miss them.
    """
    port = free_port()
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with background(command, tmp_path / "server.log", world, tmp_path):
        api = f"http://127.0.0.1:{port}/api"
        until(f"{api}/health", 120)
        gate = {"METERBRIDGE_BILLS_APPROVAL": "required", "METERBRIDGE_AUTO_CLOSE_DAYS": "12"}
        env = world | {"PREFECT_API_URL": api} | gate
        run([str(BIN / "prefect"), "work-pool", "create", "meterbridge", "--type", "process"], env, tmp_path)
        run([str(BIN / "prefect"), "--no-prompt", "deploy", "-n", "approve_bills"], env, ROOT)
        worker = [str(BIN / "prefect"), "worker", "start", "--pool", "meterbridge"]
        with background(worker, tmp_path / "worker.log", env | {"METERBRIDGE_ROOT": str(ROOT)}, tmp_path):
            yield env


def events(api: str, name: str) -> list[dict[str, Any]]:
    """Events of a name; the server files them a moment after they are emitted, on a busy machine many."""
    wanted = {"filter": {"event": {"name": [name]}}, "limit": 10}
    deadline = time.monotonic() + 30
    while True:
        found = list(httpx.post(f"{api}/events/filter", json=wanted).raise_for_status().json()["events"])
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def test_a_change_set_is_proposed_and_approved_by_the_deployment(served: dict[str, str], tmp_path: Path) -> None:
    api, bridge = served["PREFECT_API_URL"], str(BIN / "meterbridge")
    run([bridge, "sync", "subscriptions"], served, tmp_path, codes=(0, 3))
    httpx.post(f"{served['SANDBOX']}/_sandbox/month", json={}, timeout=60).raise_for_status()
    proposed = json.loads(run([bridge, "sync", "bills", "--json"], served, tmp_path, codes=(0, 3)))
    [change_set] = {row["change_set"] for row in proposed["awaiting_approval"]}
    assert proposed["applied"] == {}

    artifacts = httpx.post(f"{api}/artifacts/latest/filter", json={}).raise_for_status().json()
    by_key = {row["key"]: row for row in artifacts}
    assert f"# Change set `{change_set}` awaits approval" in by_key["sync-bills-default-awaiting-approval"]["data"]
    [event] = events(api, "meterbridge.bills.awaiting-approval")
    assert event["resource"]["prefect.resource.id"] == f"meterbridge.change-set.{change_set}"

    [warning] = events(api, "meterbridge.bills.closing-soon")
    assert {row["state"] for row in warning["payload"]["closing_soon"]} == {"proposed"}
    assert warning["payload"]["count"] == len(proposed["closing_soon"]) > 0

    deployed = httpx.get(f"{api}/deployments/name/approve_bills/approve_bills").raise_for_status().json()
    assert deployed["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    form = deployed["parameter_openapi_schema"]
    assert list(form["properties"]) == ["change_set", "by", "note"]
    assert all(one["description"] for one in form["properties"].values())
    assert form["required"] == ["change_set", "by"]
    wrong = {"parameters": {"change_set": "not a hash", "by": "ann"}}
    refused = httpx.post(f"{api}/deployments/{deployed['id']}/create_flow_run", json=wrong)
    assert refused.status_code in (400, 409, 422)

    asked = [str(BIN / "prefect"), "deployment", "run", "--watch", "approve_bills/approve_bills"]
    filled_in = ["--param", f"change_set={change_set}", "--param", "by=ann", "--param", "note=in the UI"]
    run([*asked, *filled_in], served, tmp_path)
    status = json.loads(run([bridge, "status", "--json"], served, tmp_path, codes=(0, 3)))
    assert status["awaiting_approval"] == []
    names = [row["name"] for row in httpx.post(f"{api}/flow_runs/filter", json={}).raise_for_status().json()]
    assert f"approve_bills {change_set} by ann" in names
    written = httpx.get(f"{served['SANDBOX']}/_sandbox/requests").json()
    assert len([r for r in written if r["method"] == "POST" and r["vendor"] == "chargebee"]) == 60
