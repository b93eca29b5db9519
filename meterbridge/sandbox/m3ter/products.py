"""What is sold and how it is priced: products, templates, plans, pricings, meters, aggregations."""

from __future__ import annotations

from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.table import Row, Table
from meterbridge.sandbox.wire import Routes

routes = Routes()


def _must_exist(table: Table, row_id: object, name: str) -> Row:
    row = table.get(str(row_id))
    if row is None:
        raise refusal(400, f"{name}: {row_id} does not exist")
    return row


def _unused(table: Table, column: str, row: Row, what: str) -> None:
    if table.find(column, row["id"]):
        raise refusal(400, f"{what} {row['id']} is in use")


def _complete_template(call: Call, row: Row, _before: Row | None) -> Row:
    _must_exist(call.state.products, row["productId"], "productId")
    if not call.state.currencies.find("code", row["currency"]):
        raise refusal(400, f"currency: {row['currency']} is not defined")
    return row


def _complete_plan(call: Call, row: Row, _before: Row | None) -> Row:
    template = _must_exist(call.state.plan_templates, row["planTemplateId"], "planTemplateId")
    if row.get("accountId"):
        _must_exist(call.state.accounts, row["accountId"], "accountId")
    return row | {"productId": template["productId"]}


def _complete_pricing(call: Call, row: Row, _before: Row | None) -> Row:
    if ("planId" in row) == ("planTemplateId" in row):
        raise refusal(400, "exactly one of planId and planTemplateId is needed")
    if ("aggregationId" in row) == ("compoundAggregationId" in row):
        raise refusal(400, "exactly one of aggregationId and compoundAggregationId is needed")
    if "planId" in row:
        _must_exist(call.state.plans, row["planId"], "planId")
    if "aggregationId" in row:
        _must_exist(call.state.aggregations, row["aggregationId"], "aggregationId")
    for band in row["pricingBands"]:
        missing = {"lowerLimit", "fixedPrice", "unitPrice"} - set(band)
        if missing:
            raise refusal(400, f"pricingBands: {', '.join(sorted(missing))} is missing")
    return {"cumulative": False, "type": "DEBIT"} | row


def _complete_meter(_call: Call, row: Row, _before: Row | None) -> Row:
    for each in row["dataFields"]:
        if each.get("category") in ("MEASURE", "INCOME", "COST") and not each.get("unit"):
            raise refusal(400, f"dataFields: {each.get('code')} needs a unit")
    return row


def _complete_aggregation(call: Call, row: Row, _before: Row | None) -> Row:
    meter = _must_exist(call.state.meters, row["meterId"], "meterId")
    if row["targetField"] not in {each["code"] for each in meter["dataFields"]}:
        raise refusal(400, f"targetField: {row['targetField']} is not a field of the meter")
    return row | ({"productId": meter["productId"]} if "productId" in meter else {})


PRODUCT = entities.Kind(
    path="products",
    name="Product",
    table=lambda state: state.products,
    fields={"name": fields.text(1, 200), "code": fields.code, "customFields": fields.custom_fields},
    required=("name", "code"),
    event="configuration.product",
    most=200,
    may_go=lambda call, row: _unused(call.state.plan_templates, "productId", row, "Product"),
)
PLAN_TEMPLATE = entities.Kind(
    path="plantemplates",
    name="PlanTemplate",
    table=lambda state: state.plan_templates,
    fields={
        "productId": fields.uuid,
        "name": fields.text(1, 200),
        "code": fields.code,
        "currency": fields.identifier,
        "standingCharge": fields.number(0),
        "standingChargeDescription": fields.text(0, 200),
        "standingChargeInterval": fields.integer(1, 365),
        "standingChargeOffset": fields.integer(0, 364),
        "standingChargeBillInAdvance": fields.boolean,
        "billFrequency": fields.one_of("DAILY", "WEEKLY", "MONTHLY", "ANNUALLY"),
        "billFrequencyInterval": fields.integer(1, 365),
        "minimumSpend": fields.number(0),
        "minimumSpendDescription": fields.text(0, 200),
        "minimumSpendBillInAdvance": fields.boolean,
        "ordinal": fields.integer(0),
        "customFields": fields.custom_fields,
    },
    required=("productId", "name", "currency", "billFrequency", "standingCharge"),
    event="configuration.plantemplate",
    filters={"productId": "productId", "ids": "id"},
    complete=_complete_template,
    identity=("productId", "name"),
)
PLAN = entities.Kind(
    path="plans",
    name="Plan",
    table=lambda state: state.plans,
    fields={
        "planTemplateId": fields.uuid,
        "name": fields.text(1, 200),
        "code": fields.code,
        "accountId": fields.uuid,
        "bespoke": fields.boolean,
        "standingCharge": fields.number(0),
        "standingChargeDescription": fields.text(0, 200),
        "standingChargeBillInAdvance": fields.boolean,
        "standingChargeAccountingProductId": fields.uuid,
        "minimumSpend": fields.number(0),
        "minimumSpendDescription": fields.text(0, 200),
        "minimumSpendBillInAdvance": fields.boolean,
        "minimumSpendAccountingProductId": fields.uuid,
        "ordinal": fields.integer(0),
        "customFields": fields.custom_fields,
    },
    required=("planTemplateId", "name", "code"),
    event="configuration.plan",
    filters={"productId": "productId", "accountId": "accountId", "ids": "id"},
    read_only=frozenset({"productId"}),
    complete=_complete_plan,
    may_go=lambda call, row: _unused(call.state.account_plans, "planId", row, "Plan"),
)
PRICING = entities.Kind(
    path="pricings",
    name="Pricing",
    table=lambda state: state.pricings,
    fields={
        "planId": fields.uuid,
        "planTemplateId": fields.uuid,
        "aggregationId": fields.uuid,
        "compoundAggregationId": fields.uuid,
        "accountingProductId": fields.uuid,
        "code": fields.code,
        "description": fields.text(0, 200),
        "type": fields.one_of("DEBIT", "PRODUCT_CREDIT", "GLOBAL_CREDIT"),
        "cumulative": fields.boolean,
        "tiersSpanPlan": fields.boolean,
        "segment": fields.mapping,
        "startDate": fields.moment,
        "endDate": fields.moment,
        "pricingBands": fields.list_of(1),
        "minimumSpend": fields.number(0),
    },
    required=("startDate", "pricingBands"),
    event="configuration.pricing",
    filters={
        "planId": "planId",
        "planTemplateId": "planTemplateId",
        "aggregationId": "aggregationId",
        "ids": "id",
    },
    complete=_complete_pricing,
    identity=("planId", "planTemplateId", "aggregationId", "compoundAggregationId", "segment", "startDate"),
)
METER = entities.Kind(
    path="meters",
    name="Meter",
    table=lambda state: state.meters,
    fields={
        "name": fields.text(1, 200),
        "code": fields.code,
        "productId": fields.uuid,
        "groupId": fields.uuid,
        "dataFields": fields.list_of(1, 15),
        "derivedFields": fields.list_of(0, 15),
        "customFields": fields.custom_fields,
    },
    required=("name", "code", "dataFields"),
    event="configuration.meter",
    filters={"codes": "code", "productId": "productId", "ids": "id"},
    complete=_complete_meter,
)
_ROUNDINGS = ("UP", "DOWN", "NEAREST", "NONE")
AGGREGATION = entities.Kind(
    path="aggregations",
    name="Aggregation",
    table=lambda state: state.aggregations,
    fields={
        "name": fields.text(1, 200),
        "code": fields.identifier,
        "meterId": fields.uuid,
        "targetField": fields.identifier,
        "aggregation": fields.one_of("SUM", "MIN", "MAX", "COUNT", "LATEST", "MEAN", "UNIQUE"),
        "rounding": fields.one_of(*_ROUNDINGS),
        "quantityPerUnit": fields.number(above=0),
        "unit": fields.text(1, 50),
        "segmentedFields": fields.list_of(0, 5),
        "segments": fields.list_of(0, 1000),
        "defaultValue": fields.number(),
        "accountingProductId": fields.uuid,
        "customFields": fields.custom_fields,
    },
    required=("name", "rounding", "quantityPerUnit", "unit", "aggregation", "meterId", "targetField"),
    event="configuration.aggregation",
    filters={"codes": "code", "productId": "productId", "ids": "id"},
    read_only=frozenset({"productId"}),
    hidden=frozenset({"productId"}),
    complete=_complete_aggregation,
)
COMPOUND_AGGREGATION = entities.Kind(
    path="compoundaggregations",
    name="CompoundAggregation",
    table=lambda state: state.compound_aggregations,
    fields={
        "name": fields.text(1, 200),
        "code": fields.identifier,
        "productId": fields.uuid,
        "calculation": fields.text(1, 5000),
        "rounding": fields.one_of(*_ROUNDINGS),
        "quantityPerUnit": fields.number(above=0),
        "unit": fields.text(1, 50),
        "evaluateNullAggregations": fields.boolean,
        "accountingProductId": fields.uuid,
        "customFields": fields.custom_fields,
    },
    required=("name", "rounding", "quantityPerUnit", "unit", "calculation"),
    filters={"codes": "code", "productId": "productId", "ids": "id"},
)
for _kind in (PRODUCT, PLAN_TEMPLATE, PLAN, PRICING, METER, AGGREGATION, COMPOUND_AGGREGATION):
    entities.register(routes, _kind)
