"""/externalmappings, /externalmappingconfiguration, /integrationconfigs."""

from __future__ import annotations

from collections.abc import Callable

from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_TUPLE = ("m3terEntity", "m3terId", "externalSystem", "externalTable", "externalId")


def _complete(call: Call, row: Row, before: Row | None) -> Row:
    switches = call.world.switches
    if row["m3terEntity"] not in switches.mapping_entities:
        raise refusal(400, f"m3terEntity: {row['m3terEntity']} is not a permitted entity")
    if row["externalSystem"] != "Chargebee":
        raise refusal(400, f"externalSystem: {row['externalSystem']} is not a permitted system")
    if row["externalTable"] not in switches.mapping_tables and not switches.mapping_custom_tables:
        raise refusal(400, f"externalTable: {row['externalTable']} is not a permitted table")
    if switches.duplicate_mappings == "refuse":
        for other in call.state.mappings.find("m3terId", row["m3terId"]):
            if all(other[name] == row[name] for name in _TUPLE) and (before is None or other["id"] != before["id"]):
                raise refusal(400, "the mapping exists already")
    return row


MAPPING = entities.Kind(
    path="externalmappings",
    name="ExternalMapping",
    table=lambda state: state.mappings,
    fields={name: fields.text(1, 200) for name in _TUPLE} | {"integrationConfigId": fields.uuid},
    required=_TUPLE,
    filters={"m3terIds": "m3terId", "externalSystemId": "externalSystem", "integrationConfigId": "integrationConfigId"},
    most=200,
    unique_code=False,
    complete=_complete,
    identity=_TUPLE,
)
entities.register(routes, MAPPING)


@routes.get("/externalmappings/external/{entity}/{m3terId}", *PAGING)
def of_m3ter_entity(call: Call, entity: str, m3ter_id: str) -> Row:
    return answer_page(
        call, Selection(call.state.mappings, ("m3terId", [m3ter_id]), (_has(m3terEntity=entity),), most=200)
    )


@routes.get("/externalmappings/externalid/{system}/{table}/{externalId}", *PAGING)
def of_external(call: Call, system: str, table: str, external_id: str) -> Row:
    where = (_has(externalSystem=system, externalTable=table),)
    return answer_page(call, Selection(call.state.mappings, ("externalId", [external_id]), where, most=200))


def _has(**wanted: str) -> Callable[[Row], bool]:
    return lambda row: all(row.get(name) == value for name, value in wanted.items())


@routes.get("/externalmappingconfiguration")
def configuration(call: Call) -> Row:
    switches = call.world.switches
    system = {
        "name": "Chargebee",
        "tables": switches.mapping_tables,
        "allowCustomExternalTables": switches.mapping_custom_tables,
    }
    return {"m3terEntities": switches.mapping_entities, "externalSystems": [system]}


INTEGRATION_CONFIG = entities.Kind(
    path="integrationconfigs",
    name="IntegrationConfig",
    table=lambda state: state.integration_configs,
    fields={
        "name": fields.text(1, 200),
        "entityType": fields.text(1, 100),
        "entityId": fields.text(1, 100),
        "destination": fields.text(1, 100),
        "destinationId": fields.text(1, 100),
        "configData": fields.mapping,
        "integrationCredentialsId": fields.uuid,
        "credentials": fields.mapping,
    },
    required=("entityType", "destination"),
    filters={"destinationId": "destinationId"},
    most=200,
    unique_code=False,
    read_only=frozenset({"authorized", "enabled"}),
    complete=lambda _call, row, before: {"authorized": True} | row | {"enabled": before is None or before["enabled"]},
    identity=("name", "entityType", "destination"),
)
entities.register(routes, INTEGRATION_CONFIG)
