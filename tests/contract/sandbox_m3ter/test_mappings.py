"""The imitated m3ter's rules for mappings and integrations; each test is one rule over HTTP."""

from __future__ import annotations

import httpx

from meterbridge.sandbox import Sandbox
from tests.contract.sandbox_m3ter.conftest import account, made, refused


def test_mappings_are_found_from_both_sides(sandbox: Sandbox, http: httpx.Client) -> None:
    owner = account(http)
    odd = "Abo Städte 7/ß+@"
    body = {"m3terEntity": "Account", "m3terId": owner["id"], "externalSystem": "Chargebee"}
    body |= {"externalTable": "Customer", "externalId": odd}
    row = made(http.post("/externalmappings", json=body))
    assert http.get(f"/externalmappings/external/Account/{owner['id']}").json()["data"] == [row]
    quoted = "Abo%20St%C3%A4dte%207%2F%C3%9F%2B%40"
    assert http.get(f"/externalmappings/externalid/Chargebee/Customer/{quoted}").json()["data"] == [row]
    assert http.get(f"/externalmappings/externalid/Chargebee/Subscription/{quoted}").json()["data"] == []
    assert http.get("/externalmappings", params={"externalSystemId": "Chargebee"}).json()["data"] == [row]
    changed = made(http.put(f"/externalmappings/{row['id']}", json=row | {"externalId": "new"}))
    assert (changed["version"], changed["externalId"]) == (2, "new")
    made(http.delete(f"/externalmappings/{row['id']}"))
    refused(http.get(f"/externalmappings/{row['id']}"), 404, row["id"])


def test_mapping_names_come_from_the_configuration(sandbox: Sandbox, http: httpx.Client) -> None:
    assert "BillLineItem" in http.get("/externalmappingconfiguration").json()["m3terEntities"]
    body = {"m3terEntity": "BillLineItem", "m3terId": "x", "externalSystem": "Chargebee"}
    body |= {"externalTable": "InvoiceLineItem", "externalId": "li_1"}
    made(http.post("/externalmappings", json=body))
    made(http.post("/externalmappings", json=body))
    sandbox.world.switches.update({"mapping_entities": ["Account"], "duplicate_mappings": "refuse"})
    assert http.get("/externalmappingconfiguration").json()["m3terEntities"] == ["Account"]
    refused(http.post("/externalmappings", json=body), 400, "m3terEntity")
    refused(http.post("/externalmappings", json=body | {"externalId": ""}), 400, "externalId")


def test_native_integration_shows_in_the_list(http: httpx.Client) -> None:
    assert http.get("/integrationconfigs").json()["data"] == []
    body = {"name": "Native", "entityType": "Bill", "destination": "Chargebee", "configData": {}}
    made(http.post("/integrationconfigs", json=body))
    found = http.get("/integrationconfigs").json()["data"]
    assert [(row["destination"], row["enabled"]) for row in found] == [("Chargebee", True)]
