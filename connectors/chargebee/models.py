"""Chargebee's records as far as we use them.

Times are epoch seconds UTC, ``resource_version`` is milliseconds. Amounts are Chargebee's
integers: whole units for zero-decimal currencies, hundredths for all others. Statuses are
texts, for Chargebee adds new ones. What a pydantic field does not default must be there.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from connectors.records import WireRecord

Minor = Annotated[int, Field(strict=True)]
Epoch = Annotated[int, Field(strict=True)]


class SiteConfiguration(WireRecord):
    """What kind of site it is; ``product_catalog_version`` is ``v1`` or ``v2``."""

    domain: str
    product_catalog_version: str
    chargebee_response_schema_type: str | None = None


class TimeMachine(WireRecord):
    """Where a test site is in time; instants are absent while it does not travel."""

    time_travel_status: str
    genesis_time: int | None = None
    destination_time: int | None = None


class Address(WireRecord):
    """A billing address."""

    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    city: str | None = None
    state: str | None = None
    state_code: str | None = None
    zip: str | None = None
    country: str | None = None


class Relationship(WireRecord):
    """Who stands above a customer, and who gets its invoices."""

    parent_id: str | None = None
    payment_owner_id: str | None = None
    invoice_owner_id: str | None = None


class Customer(WireRecord):
    """A customer; ``updated_at`` may be absent on rows untouched since 2016."""

    id: str
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    email: str | None = None
    preferred_currency_code: str | None = None
    consolidated_invoicing: bool = False
    billing_address: Address | None = None
    relationship: Relationship | None = None
    deleted: bool = False
    created_at: Epoch | None = None
    updated_at: Epoch | None = None
    resource_version: int | None = None


class SubscriptionItem(WireRecord):
    """One item price of a subscription; it has no id of its own."""

    item_price_id: str
    item_type: str
    quantity: int | None = None
    quantity_in_decimal: str | None = None
    unit_price: Minor | None = None
    unit_price_in_decimal: str | None = None
    amount: Minor | None = None
    trial_end: Epoch | None = None


class ItemTier(WireRecord):
    """A price tier that a subscription overrides."""

    item_price_id: str
    starting_unit: int | None = None
    ending_unit: int | None = None
    price: Minor | None = None
    starting_unit_in_decimal: str | None = None
    ending_unit_in_decimal: str | None = None
    price_in_decimal: str | None = None


class Subscription(WireRecord):
    """A subscription; ``cancelled_at`` lies in the future while it is non_renewing."""

    id: str
    customer_id: str
    currency_code: str
    status: str
    start_date: Epoch | None = None
    trial_start: Epoch | None = None
    trial_end: Epoch | None = None
    current_term_start: Epoch | None = None
    current_term_end: Epoch | None = None
    next_billing_at: Epoch | None = None
    activated_at: Epoch | None = None
    started_at: Epoch | None = None
    cancelled_at: Epoch | None = None
    pause_date: Epoch | None = None
    resume_date: Epoch | None = None
    billing_period: int | None = None
    billing_period_unit: str | None = None
    has_scheduled_changes: bool = False
    create_pending_invoices: bool = False
    auto_close_invoices: bool | None = None
    deleted: bool = False
    created_at: Epoch | None = None
    updated_at: Epoch | None = None
    resource_version: int | None = None
    subscription_items: tuple[SubscriptionItem, ...] = ()
    item_tiers: tuple[ItemTier, ...] = ()


class Item(WireRecord):
    """What is sold; ``metered`` lives here, not on the price."""

    id: str
    name: str
    type: str
    status: str | None = None
    metered: bool = False
    unit: str | None = None
    updated_at: Epoch | None = None


class LineItem(WireRecord):
    """A line of an invoice; ``entity_id`` is None for an ad-hoc charge, ``date_to`` the last second included."""

    id: str
    entity_type: str
    entity_id: str | None = None
    description: str = ""
    date_from: Epoch
    date_to: Epoch
    unit_amount: Minor
    quantity: int = 1
    amount: Minor
    subscription_id: str | None = None
    customer_id: str | None = None


class InvoiceNote(WireRecord):
    """A credit note on an invoice, as the invoice shows it; ``cn_total`` is positive."""

    cn_id: str
    cn_total: Minor | None = None
    cn_status: str | None = None


class Invoice(WireRecord):
    """An invoice, draft or final.

    ``subscription_id`` is None on a consolidated invoice. ``generated_at`` is None on a draft.
    ``line_items_next_offset`` is set when Chargebee kept some lines back (very large
    invoices on some sites); :meth:`ChargebeeClient.invoice` reads them all.
    """

    id: str
    status: str
    customer_id: str
    subscription_id: str | None = None
    business_entity_id: str | None = None
    currency_code: str
    price_type: str
    date: Epoch
    total: Minor
    sub_total: Minor
    generated_at: Epoch | None = None
    voided_at: Epoch | None = None
    deleted: bool = False
    updated_at: Epoch | None = None
    resource_version: int | None = None
    line_items: tuple[LineItem, ...] = ()
    issued_credit_notes: tuple[InvoiceNote, ...] = ()
    adjustment_credit_notes: tuple[InvoiceNote, ...] = ()
    line_items_next_offset: str | None = None


class UnbilledCharge(WireRecord):
    """A charge that waits for the subscription's next invoice."""

    id: str
    subscription_id: str | None = None
    customer_id: str | None = None
    currency_code: str
    entity_type: str
    entity_id: str | None = None
    description: str = ""
    amount: Minor
    date_from: Epoch | None = None
    date_to: Epoch | None = None
    is_voided: bool = False
    deleted: bool = False


class Event(WireRecord):
    """Something that happened; ``content`` is a snapshot of that moment, to be re-read for the truth."""

    id: str
    event_type: str
    occurred_at: Epoch
    source: str | None = None
    api_version: str | None = None
    content: dict[str, Any] = Field(default_factory=dict)
