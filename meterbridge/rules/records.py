"""The values that rules take and give: frozen, plain, aware UTC, exact money.

Read by staging and ledger too. Instants are aware UTC datetimes; amounts in minor units are Chargebee's integers
(whole units for zero-decimal currencies, else hundredths); amounts in major units are :class:`~decimal.Decimal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from meterbridge.rules import decisions

Action = decisions.Action
Decision = decisions.Decision
Intent = decisions.Intent
Key = decisions.Key
Kind = decisions.Kind
OutOfScope = decisions.OutOfScope
Proposal = decisions.Proposal
Proposed = decisions.Proposed
Quarantined = decisions.Quarantined
Ref = decisions.Ref
Target = decisions.Target
Unchanged = decisions.Unchanged
Waiting = decisions.Waiting

# --- Chargebee → m3ter -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Parts as Chargebee has them; m3ter's length limits are applied by the rule."""

    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A Chargebee customer. ``name`` is the company, else first and last name, else empty."""

    id: str
    name: str
    email: str | None
    address: Address
    currency: str | None
    invoice_owner_id: str | None
    deleted: bool
    resource_version: int


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """An item of a subscription; it has no id of its own. ``terms`` is a hash of quantity, unit price and tiers."""

    item_price_id: str
    item_type: str
    quantity: str | None
    unit_price: int | None
    terms: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Chargebee subscription as of ``resource_version``; instants aware UTC."""

    id: str
    customer_id: str
    status: str
    currency: str
    items: tuple[SubscriptionItem, ...]
    billing_period: int | None
    billing_period_unit: str | None
    created_at: datetime | None
    start_date: datetime | None
    trial_end: datetime | None
    started_at: datetime | None
    activated_at: datetime | None
    current_term_start: datetime | None
    current_term_end: datetime | None
    next_billing_at: datetime | None
    cancelled_at: datetime | None
    pause_date: datetime | None
    resume_date: datetime | None
    updated_at: datetime | None
    deleted: bool
    resource_version: int


@dataclass(frozen=True, slots=True)
class PlanTarget:
    """What the catalog maps an item price to, looked up in m3ter; ``currency`` is the plan's pricing currency."""

    item_price_id: str
    plan_code: str
    plan_id: str | None
    product_id: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open [start, end); ``end`` None means open."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account the ledger knows: its mapping row; ``parent`` is the customer under whose account we put it."""

    customer_id: str
    account_id: str
    fingerprint: str
    currency: str | None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account read from m3ter before anything is created: equal code, or equal after case folding."""

    id: str
    code: str
    name: str
    currency: str | None
    mapped_customer_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """An account plan the ledger knows. ``period`` counts from 1 within (subscription, item price).

    ``items`` are the item prices that the subscription had when these terms were written: one of them that has none
    failed then, it was not added since. ``paused``: a pause ended it, a cancellation later on is no later end.
    ``due`` is when it should have ended, by version ``due_by``, where that could not be done.
    """

    subscription_id: str
    item_price_id: str
    period: int
    account_plan_id: str
    account_id: str
    customer_id: str
    plan_id: str
    product_id: str
    start: datetime
    end: datetime | None
    terms: str
    items: tuple[str, ...] = ()
    paused: bool = False
    due: datetime | None = None
    due_by: int | None = None


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """An account plan read from m3ter; ``external_ids`` are those of its Chargebee/Subscription mappings."""

    id: str
    account_id: str
    plan_id: str
    product_id: str
    code: str | None
    start: datetime
    end: datetime | None
    external_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CustomerCase:
    """All a rule needs to decide one customer: desired, known, found.

    ``subscriptions`` are those read in this run (changed ones, or all in a full
    read); ``known_plans`` are all of the customer's and of these subscriptions',
    changed or not, ended ones included. ``changed_at`` gives a subscription's change
    instant from the events, where one is known. ``known_mappings`` are the
    external_mapping keys that the ledger knows; ``known_children`` the accounts
    under the customer's that hold single subscriptions (customer_id is their key).
    """

    customer: Customer
    subscriptions: tuple[Subscription, ...]
    targets: Mapping[str, PlanTarget]
    known_account: KnownAccount | None
    known_plans: tuple[KnownPlan, ...]
    found_accounts: tuple[FoundAccount, ...]
    found_plans: tuple[FoundPlan, ...]
    changed_at: Mapping[str, datetime]
    known_mappings: frozenset[Key] = frozenset()
    known_children: tuple[KnownAccount, ...] = ()


# --- m3ter → Chargebee -----------------------------------------------------------------


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
    """An m3ter bill with its lines; ``total`` is billTotal in major units, None where m3ter gave none."""

    id: str
    version: int
    account_id: str
    account_code: str | None
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
class Invoice:
    """A Chargebee invoice, pending or closed; ``deleted`` is a status, too.

    ``strong``: read by its id just now, so that a line which is not among its lines is gone.
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


@dataclass(frozen=True, slots=True)
class BillCase:
    """All a rule needs to decide one bill.

    ``invoices`` are the customer's and the invoice owner's: pending ones always; closed ones since the first service
    start too when ``known`` is False (the ledger has never seen the bill), so that lines already booked are adopted.
    ``settled`` is what a person settled, in minor units by subscription id. ``mapped_invoice_lines`` maps m3ter bill
    line ids to invoice line ids. ``owned_lines`` are invoice lines that the ledger gives to other bills: never adopted.
    ``waiting_since`` tells since when a portion waits for an invoice, by subscription. ``unproven_sets`` are those
    with a call for several lines whose answer never came, ``unproven_charges`` the keys of single charges without one.
    ``undone``: by subscription the lines that a person takes off; nothing is charged anew. ``marks``: what m3ter maps
    the bill to, invoice ids and marks of lowered charges; ``marks_to_come``: those of charges to be lowered yet.
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
    unproven_sets: frozenset[str] = frozenset()
    unproven_charges: frozenset[Key] = frozenset()
    undone: Mapping[str, frozenset[str]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    marks_to_come: frozenset[str] = frozenset()
