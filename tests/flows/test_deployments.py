"""prefect.yaml without a server: every entrypoint is a flow of the deployment's name that takes its parameters."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

ROOT = Path(__file__).parents[2]
PLAN = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("deployment", [pytest.param(d, id=d["name"]) for d in PLAN["deployments"]])
def test_a_deployment_fits_its_flow(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    assert deployment["name"].removesuffix("_ad_hoc") == name
    known = set(flow.parameters.properties)
    given = set(deployment.get("parameters") or {})
    for schedule in deployment.get("schedules") or []:
        given |= set(schedule.get("parameters") or {})
        assert schedule["slug"]
    assert given <= known
    assert deployment["concurrency_limit"]["limit"] == 1


def test_both_syncs_are_scheduled_and_no_path_of_this_machine_is_in_it() -> None:
    scheduled = {d["name"] for d in PLAN["deployments"] if d.get("schedules")}
    assert {"sync_subscriptions", "sync_bills", "reconcile"} <= scheduled
    assert PLAN["pull"] == [
        {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $METERBRIDGE_ROOT }}"}}
    ]
