"""``webhooks install``, once or twice, leaves one endpoint, rule, webhook and link; ``remove`` leaves none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.chargebee.webhooks import EVENTS
from meterbridge.cli.main import app
from meterbridge.errors import SetupError
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import OpenSandbox

SETTINGS = {
    "METERBRIDGE_WEBHOOK_URL": "https://bridge.example.com/",
    "METERBRIDGE_WEBHOOK_PASSWORD": "word",
    "METERBRIDGE_WEBHOOK_M3TER_PATH": "hidden-path",
    "METERBRIDGE_WEBHOOK_M3TER_KEY": "m3ter-key",
}


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["webhooks", *words, "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def standing(sandbox: Sandbox) -> tuple[int, int, int, int]:
    chargebee, m3ter = sandbox.world.chargebee, sandbox.world.m3ter
    tables = (chargebee.webhook_endpoints, m3ter.notifications, m3ter.webhook_destinations, m3ter.integration_configs)
    first, second, third, fourth = (len(table) for table in tables)
    return first, second, third, fourth


def test_installing_twice_makes_one_of_each(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single", **SETTINGS)
    assert [row["done"] for row in run("install")["webhooks"]] == ["created"] * 4
    assert [row["done"] for row in run("install")["webhooks"]] == ["updated", "unchanged", "updated", "unchanged"]
    assert standing(sandbox) == (1, 1, 1, 1)


def test_the_vendors_are_told_where_what_and_with_which_secret(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single", **SETTINGS)
    run("install")
    (endpoint,) = sandbox.world.chargebee.webhook_endpoints.rows()
    assert endpoint["url"] == "https://bridge.example.com/webhooks/chargebee"
    assert (endpoint["basic_auth_username"], endpoint["basic_auth_password"]) == ("chargebee", "word")
    assert endpoint["enabled_events"] == list(EVENTS)
    (webhook,) = sandbox.world.m3ter.webhook_destinations.rows()
    assert webhook["url"] == "https://bridge.example.com/webhooks/m3ter/hidden-path"
    assert webhook["credentials"]["apiKey"] == "m3ter-key"


def test_what_a_person_changed_is_put_right(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single", **SETTINGS)
    run("install")
    world = sandbox.world
    (endpoint,) = world.chargebee.webhook_endpoints.rows()
    world.chargebee.save(world.chargebee.webhook_endpoints, {**endpoint, "disabled": True})
    (rule,) = world.m3ter.notifications.rows()
    world.m3ter.save(world.m3ter.notifications, {**rule, "active": False}, rule)
    assert [row["done"] for row in run("install")["webhooks"]] == ["updated", "updated", "updated", "unchanged"]
    assert [row["disabled"] for row in world.chargebee.webhook_endpoints.rows()] == [False]
    assert [row["active"] for row in world.m3ter.notifications.rows()] == [True]


def test_the_list_shows_what_is_ours_and_hides_the_secret_path(open_sandbox: OpenSandbox) -> None:
    open_sandbox("single", **SETTINGS)
    run("install")
    found = run("list")
    assert [(row["vendor"], row["what"]) for row in found["installed"]] == [
        ("chargebee", "endpoint"),
        ("m3ter", "rule"),
        ("m3ter", "webhook"),
        ("m3ter", "link"),
    ]
    assert "hidden-path" not in json.dumps(found)
    assert (found["waiting"], found["malformed"]) == (0, [])


def test_removing_leaves_others_alone(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single", **SETTINGS)
    run("install")
    run("remove")
    assert standing(sandbox) == (0, 0, 0, 0)
    world = sandbox.world.chargebee
    world.save(
        world.webhook_endpoints, {"id": "whv2_theirs", "name": "theirs", "url": "https://x.example", "disabled": False}
    )
    run("remove")
    assert [row["name"] for row in world.webhook_endpoints.rows()] == ["theirs"]


@pytest.mark.parametrize("missing", ["METERBRIDGE_WEBHOOK_URL", "both secrets"])
def test_nothing_is_installed_without_url_or_secret(open_sandbox: OpenSandbox, missing: str) -> None:
    gone = [missing] if missing in SETTINGS else ["METERBRIDGE_WEBHOOK_PASSWORD", "METERBRIDGE_WEBHOOK_M3TER_PATH"]
    sandbox = open_sandbox("single", **{name: value for name, value in SETTINGS.items() if name not in gone})
    with pytest.raises(SetupError):
        run("install")
    assert standing(sandbox) == (0, 0, 0, 0)
