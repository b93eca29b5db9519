"""The values that bill rules take: m3ter's bills, Chargebee's invoices, and what stands of ours; frozen and plain.

Instants are aware UTC datetimes; amounts in minor units are Chargebee's integers, those in major units
:class:`~decimal.Decimal`. Everybody imports them from ``records``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from meterbridge.rules.decisions import Key


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line of an m3ter bill; ``amount`` is convertedSubtotal in major units of the bill's currency."""

    id: str
    sequence: int
    line_item_type: str
    description: str
    amount: Decimal
    quantity: Decimal
    units: Decimal
    unit: str
    product_id: str | None
    product_code: str | None
    product_name: str | None
    plan_id: str | None
    plan_code: str | None
    pricing_id: str | None
    pricing_code: str | None
    aggregation_id: str | None
    aggregation_code: str | None
    compound_aggregation_id: str | None
    compound_aggregation_code: str | None
    segment: Mapping[str, str]
    contract_id: str | None
    charge_id: str | None
    commitment_id: str | None
    balance_id: str | None
    counter_id: str | None
    referenced_line_id: str | None
    child_account_id: str | None
    service_start: datetime | None
    service_end: datetime | None
    in_advance: bool = False


@dataclass(frozen=True, slots=True)
class Bill:
    """An m3ter bill; ``total`` is in major units, or None; ``customer_id`` falls back to the account's code."""

    id: str
    version: int
    account_id: str
    customer_id: str
    status: str
    locked: bool
    currency: str
    bill_date: date
    start: datetime | None
    end: datetime | None
    last_calculated: str | None
    total: Decimal | None
    lines: tuple[BillLine, ...]


@dataclass(frozen=True, slots=True)
class PlacedPlan:
    """An account plan and the subscription item it stands for, from ledger or m3ter mappings."""

    account_plan_id: str
    account_id: str
    plan_id: str
    subscription_id: str
    item_price_id: str
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """What the bill rule needs of a Chargebee subscription.

    ``auto_close`` and ``customer_auto_close`` override the site's rule for closing drafts, where they are set.
    """

    id: str
    customer_id: str
    invoice_owner_id: str | None
    status: str
    currency: str
    created_at: datetime | None
    next_billing_at: datetime | None
    current_term_end: datetime | None
    consolidated: bool
    item_price_ids: tuple[str, ...] = ()
    auto_close: bool | None = None
    customer_auto_close: bool | None = None
    business_entity_id: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """A line of a Chargebee invoice; ``amount`` in minor units, both dates as there, the last second inclusive."""

    id: str
    entity_type: str
    entity_id: str | None
    description: str
    date_from: datetime | None
    date_to: datetime | None
    amount: int
    subscription_id: str | None


@dataclass(frozen=True, slots=True)
class InvoiceNote:
    """A credit note on an invoice; ``amount`` in minor units, positive."""

    id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """A Chargebee invoice, pending or closed; ``deleted`` is a status, too.

    ``strong``: read by its id just now, so that a line which is not among its lines is gone. ``foreign_notes`` are
    credit notes on it that are none of ours.
    """

    id: str
    status: str
    customer_id: str
    subscription_id: str | None
    currency: str
    date: datetime | None
    price_type: str
    lines: tuple[InvoiceLine, ...]
    strong: bool = False
    business_entity_id: str | None = None
    foreign_notes: tuple[InvoiceNote, ...] = ()


@dataclass(frozen=True, slots=True)
class ChargeRule:
    """One row of the catalog's ``charges``; None matches anything, first match wins."""

    item_price: str
    product: str | None = None
    plan: str | None = None
    pricing: str | None = None
    aggregation: str | None = None
    compound_aggregation: str | None = None
    line_item_type: str | None = None
    segment: Mapping[str, str] | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class StandingLine:
    """A charge of ours that stands on an invoice, by the ledger; ``amount`` in minor units.

    ``draft`` tells what is known of an invoice that went away as a draft: ``transit`` while its final invoice is
    searched for, ``lost`` when the search was given up, ``ambiguous`` when several could be it (``candidates``).
    ``adopted`` lines were found, not sent: what else was done for their bill is not known. A ``movable`` line may be
    taken off a pending invoice; one that was lowered by another bill's surplus may not. ``carried`` is such a surplus:
    it stands as long as the line that it lowered.
    """

    key: Key
    bill_id: str
    subscription_id: str
    invoice_id: str
    line_id: str
    amount: int
    currency: str
    fingerprint: str
    draft: Literal["found", "transit", "lost", "ambiguous"] = "found"
    candidates: tuple[str, ...] = ()
    transit_until: datetime | None = None
    adopted: bool = False
    movable: bool = True
    carried: bool = False
    bill_line_ids: tuple[str, ...] = ()
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """A charge or charge set whose answer never came: it may have been booked.

    ``amount`` in minor units of ``currency``; ``payer`` is the customer of the invoice it was sent to, if it is known.
    """

    kind: str
    key: Key
    amount: int
    currency: str
    payer: str | None = None


@dataclass(frozen=True, slots=True)
class BillCase:
    """All a rule needs to decide one bill.

    ``invoices`` are the customer's and the invoice owner's: pending ones always; closed ones since the first service
    start too when ``known`` is False (the ledger has never seen the bill), so that lines already booked are adopted.
    ``settled`` is what a person settled, in minor units by subscription id. ``mapped_invoice_lines`` maps m3ter bill
    line ids to invoice line ids. ``owned_lines`` are invoice lines that the ledger gives to other bills: never adopted.
    ``waiting_since`` tells since when a portion waits for an invoice, by subscription. ``in_flight`` are writes whose
    answer never came. ``payers`` are the customer of the bill's account and whoever is invoiced in its place; empty
    where nobody knows. ``released`` (minor units) is what a person allowed beyond the bill's total.
    ``undone``: by subscription the lines that a person takes off, each with its charge's identity (empty where nobody
    knows it): nothing is charged anew, and no such line for another subscription. ``marks``: what m3ter maps
    the bill to, invoice ids and marks of lowered charges; ``marks_to_come``: those of charges to be lowered yet.
    ``not_ours``: its account is billed elsewhere.
    """

    bill: Bill
    plans: tuple[PlacedPlan, ...]
    subscriptions: Mapping[str, SubscriptionFacts]
    invoices: tuple[Invoice, ...]
    standing: tuple[StandingLine, ...]
    settled: Mapping[str, int]
    known: bool
    mapped_invoice_lines: Mapping[str, str]
    now: datetime
    owned_lines: frozenset[str] = frozenset()
    waiting_since: Mapping[str, datetime] = field(default_factory=dict)
    in_flight: tuple[InFlight, ...] = ()
    payers: frozenset[str] = frozenset()
    released: int = 0
    undone: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    marks_to_come: frozenset[str] = frozenset()
    not_ours: bool = False

    @property
    def unproven_sets(self) -> frozenset[str]:
        """Subscriptions with a call for several lines whose answer never came."""
        return frozenset(one.key[1] for one in self.in_flight if one.kind == "charge_set")

    @property
    def unproven_charges(self) -> frozenset[Key]:
        """Keys of single charges whose answer never came."""
        return frozenset(one.key for one in self.in_flight if one.kind == "charge")
