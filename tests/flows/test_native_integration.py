"""m3ter's own integration beside ours: nothing is charged, and one clear line says why."""

from __future__ import annotations

import pytest

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.errors import SetupError
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.conftest import OpenSandbox


def switch_on(sandbox: Sandbox, **change: object) -> None:
    import httpx

    from meterbridge.sandbox import M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID

    token = httpx.post(
        f"{sandbox.m3ter_url}/oauth/token",
        json={"grant_type": "client_credentials"},
        auth=(M3TER_API_KEY, M3TER_API_SECRET),
    ).json()["access_token"]
    body = {"name": "their own", "entityType": "Bill", "entityId": "x", "destination": "Chargebee", "configData": {}}
    url = f"{sandbox.m3ter_url}/organizations/{M3TER_ORGANIZATION_ID}/integrationconfigs"
    made = httpx.post(url, json={**body, **change}, headers={"Authorization": f"Bearer {token}"})
    made.raise_for_status()
    for row in sandbox.world.m3ter.integration_configs.rows():
        row["enabled"] = change.get("enabled", True)


def charges(sandbox: Sandbox) -> int:
    return sum(1 for one in sandbox.world.log if one.method == "POST" and "add_charge" in one.path)


def test_an_enabled_integration_stops_the_run_before_its_first_write(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    switch_on(sandbox)
    with pytest.raises(SetupError) as caught:
        sync_bills.fn()
    assert caught.value.code == "MB-NATIVE"
    assert "their own" in caught.value.message
    assert charges(sandbox) == 0
    assert sync_bills.fn(dry_run=True).intended["charge.create"] == 2


@pytest.mark.parametrize("change", [{"enabled": False}, {"destination": "Xero"}, {"entityType": "Notification"}])
def test_another_integration_or_a_disabled_one_does_not_matter(
    open_sandbox: OpenSandbox, change: dict[str, object]
) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    switch_on(sandbox, **change)
    sync_bills.fn()
    assert charges(sandbox) == 2
