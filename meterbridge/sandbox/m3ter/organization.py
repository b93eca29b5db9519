"""/organizationconfig, /picklists/currency."""

from __future__ import annotations

from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.m3ter.state import M3terState
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()


def _may_go(call: Call, row: Row) -> None:
    if row["code"] == call.state.organization["currency"]:
        raise refusal(400, "the default currency cannot be deleted")


CURRENCY = entities.Kind(
    path="picklists/currency",
    name="Currency",
    table=lambda state: state.currencies,
    fields={
        "name": fields.text(1, 200),
        "code": fields.identifier,
        "archived": fields.boolean,
        "maxDecimalPlaces": fields.integer(0, 5),
        "roundingMode": fields.one_of(
            "UP", "DOWN", "CEILING", "FLOOR", "HALF_UP", "HALF_DOWN", "HALF_EVEN", "UNNECESSARY"
        ),
    },
    required=("name",),
    filters={"codes": "code", "ids": "id"},
    may_go=_may_go,
)
entities.register(routes, CURRENCY)

ORGANIZATION = entities.Kind(
    path="organizationconfig",
    name="OrganizationConfig",
    table=lambda state: state.organizations,
    fields={
        "currency": fields.identifier,
        "currencyConversions": fields.list_of(0),
        "timezone": fields.text(1, 100),
        "yearEpoch": fields.day,
        "monthEpoch": fields.day,
        "weekEpoch": fields.day,
        "dayEpoch": fields.day,
        "daysBeforeBillDue": fields.integer(1),
        "scheduledBillInterval": fields.number(0),
        "scheduledBillOffset": fields.integer(0, 23),
        "standingChargeBillInAdvance": fields.boolean,
        "commitmentFeeBillInAdvance": fields.boolean,
        "minimumSpendBillInAdvance": fields.boolean,
        "autoApproveBillsGracePeriod": fields.integer(0),
        "autoApproveBillsGracePeriodUnit": fields.one_of("MINUTES", "HOURS", "DAYS"),
        "externalInvoiceDate": fields.one_of("FIRST_DAY_OF_NEXT_PERIOD", "LAST_DAY_OF_ARREARS"),
        "suppressedEmptyBills": fields.boolean,
        "consolidateBills": fields.boolean,
        "creditApplicationOrder": fields.list_of(0, 2),
        "allowNegativeBalances": fields.boolean,
        "allowOverlappingPlans": fields.boolean,
        "billPrefix": fields.text(0, 20),
        "sequenceStartNumber": fields.integer(0),
    },
    required=("currency", "timezone", "yearEpoch", "monthEpoch", "weekEpoch", "dayEpoch", "daysBeforeBillDue"),
)


@routes.get("/organizationconfig")
def read(call: Call) -> Row:
    return call.state.organization


@routes.put("/organizationconfig")
def replace(call: Call) -> Row:
    row = entities.checked(call, ORGANIZATION)
    before = call.state.organization
    entities.check_version(call, before)
    if not call.state.currencies.find("code", row["currency"]):
        raise refusal(400, f"currency: {row['currency']} is not defined")
    set_organization(call.state, row)
    call.state.emit("configuration.organizationconfig.updated", call.state.organization, before)
    return call.state.organization


def set_organization(state: M3terState, row: Row) -> None:
    """The one row of the organisation, versioned like any other."""
    before = state.organization
    row = {"id": before["id"] if before else state.ids.uuid("OrganizationConfig")} | row
    state.organization = state.save(state.organizations, row, before or None)
