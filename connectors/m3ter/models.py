"""m3ter's records as far as we use them.

Attributes are snake_case, the wire is camelCase. Money and quantities are Decimal and must be
read from text: type a bill only out of ``bill(id)`` or ``list(…, exact=True)``. Instants are
aware; dates are the bill's own calendar days. What a field does not default must be there.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from connectors.records import WireRecord


def _exact(value: Any) -> Any:
    # A float has already lost digits; taking it would hide that the record was not read exactly.
    if isinstance(value, float | bool):
        raise ValueError("decimals must be read as text")
    return value


Exact = Annotated[Decimal, BeforeValidator(_exact)]


class M3terRecord(WireRecord):
    """Base of m3ter's records; fields are read by their camelCase names."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Account(M3terRecord):
    """A customer at m3ter; ``code`` is what usage refers to."""

    id: str
    version: int
    name: str
    code: str
    email_address: str | None = None
    currency: str | None = None
    parent_account_id: str | None = None
    bill_epoch: date | None = None


class AccountPlan(M3terRecord):
    """A plan on an account, from ``start_date`` up to but excluding ``end_date``; None is open."""

    id: str
    version: int
    account_id: str
    plan_id: str | None = None
    plan_group_id: str | None = None
    product_id: str | None = None
    code: str | None = None
    start_date: AwareDatetime
    end_date: AwareDatetime | None = None
    bill_epoch: date | None = None
    child_billing_mode: str | None = None


class Product(M3terRecord):
    """A product."""

    id: str
    name: str
    code: str


class PlanTemplate(M3terRecord):
    """Where a plan's currency and billing frequency live."""

    id: str
    product_id: str
    name: str
    currency: str
    bill_frequency: str
    bill_frequency_interval: int | None = None


class Plan(M3terRecord):
    """A plan; ``account_id`` binds a bespoke one to its account."""

    id: str
    code: str
    name: str
    plan_template_id: str
    product_id: str | None = None
    account_id: str | None = None


class ExternalMapping(M3terRecord):
    """One m3ter record tied to one foreign record; neither side is unique."""

    id: str
    version: int | None = None
    m3ter_entity: str = Field(alias="m3terEntity")
    m3ter_id: str = Field(alias="m3terId")
    external_system: str
    external_table: str
    external_id: str


class ExternalSystem(M3terRecord):
    """A foreign system and the tables that mappings may name."""

    name: str
    tables: tuple[str, ...] = ()
    allow_custom_external_tables: bool = False


class MappingConfiguration(M3terRecord):
    """The names that mappings may use."""

    m3ter_entities: tuple[str, ...] = Field(default=(), alias="m3terEntities")
    external_systems: tuple[ExternalSystem, ...] = ()


class OrganizationConfig(M3terRecord):
    """What the organisation has decided for all its accounts."""

    version: int | None = None
    currency: str
    timezone: str
    allow_overlapping_plans: bool = False
    scheduled_bill_interval: Exact | None = None
    consolidate_bills: bool = False
    auto_approve_bills_grace_period: int | None = None
    auto_approve_bills_grace_period_unit: str | None = None


class BillLine(M3terRecord):
    """A line of a bill; ``converted_subtotal`` is what it costs in the bill's currency.

    ``id`` may not survive a recalculation. The service period excludes its end.
    """

    id: str | None = None
    sequence_number: int | None = None
    line_item_type: str
    description: str
    quantity: Exact
    units: Exact
    unit: str
    average_unit_price: Exact
    subtotal: Exact
    currency: str
    conversion_rate: Exact
    converted_subtotal: Exact
    product_id: str | None = None
    product_code: str | None = None
    product_name: str | None = None
    accounting_product_id: str | None = None
    accounting_product_code: str | None = None
    plan_id: str | None = None
    plan_group_id: str | None = None
    pricing_id: str | None = None
    aggregation_id: str | None = None
    compound_aggregation_id: str | None = None
    meter_id: str | None = None
    counter_id: str | None = None
    charge_id: str | None = None
    commitment_id: str | None = None
    balance_id: str | None = None
    contract_id: str | None = None
    referenced_bill_id: str | None = None
    referenced_line_item_id: str | None = None
    reason_id: str | None = None
    segment: dict[str, str] | None = None
    group: dict[str, str] | None = None
    child_account_id: str | None = None
    child_account_code: str | None = None
    service_period_start_date: AwareDatetime | None = None
    service_period_end_date: AwareDatetime | None = None


class Bill(M3terRecord):
    """A bill; ``status`` is PENDING or APPROVED, only ``locked`` is final."""

    id: str
    version: int
    account_id: str
    account_code: str | None = None
    currency: str
    status: str
    locked: bool = False
    bill_date: date
    start_date: date | None = None
    end_date: date | None = None
    start_date_time_utc: AwareDatetime | None = Field(default=None, alias="startDateTimeUTC")
    end_date_time_utc: AwareDatetime | None = Field(default=None, alias="endDateTimeUTC")
    billing_frequency: str | None = None
    timezone: str | None = None
    bill_total: Exact | None = None
    last_calculated_date: AwareDatetime | None = None
    dt_last_modified: AwareDatetime | None = None
    dt_approved: AwareDatetime | None = None
    line_items: tuple[BillLine, ...] | None = None
