"""What may land, field by field: the allow-list of each resource.

Chargebee pages are integers and text only, so they are read by DuckDB itself;
every leaf lands as text and is typed in ``stg_*``, where a value that does not
fit names its record instead of stopping the page. Cards, phones and addresses
beyond what an account needs have no field here, so they never land.
"""

from __future__ import annotations

_ADDRESS = (
    "STRUCT(line1 VARCHAR, line2 VARCHAR, line3 VARCHAR, city VARCHAR, state VARCHAR, zip VARCHAR, country VARCHAR)"
)

_CUSTOMER = (
    "STRUCT(id VARCHAR, company VARCHAR, first_name VARCHAR, last_name VARCHAR, email VARCHAR, "
    f"preferred_currency_code VARCHAR, billing_address {_ADDRESS}, "
    "relationship STRUCT(parent_id VARCHAR, payment_owner_id VARCHAR, invoice_owner_id VARCHAR), "
    "consolidated_invoicing VARCHAR, auto_close_invoices VARCHAR, deleted VARCHAR, updated_at VARCHAR, "
    "resource_version VARCHAR)"
)

_ITEM = (
    "STRUCT(item_price_id VARCHAR, item_type VARCHAR, quantity VARCHAR, quantity_in_decimal VARCHAR, "
    "unit_price VARCHAR, unit_price_in_decimal VARCHAR, amount VARCHAR)"
)

_SUBSCRIPTION = (
    "STRUCT(id VARCHAR, customer_id VARCHAR, status VARCHAR, currency_code VARCHAR, billing_period VARCHAR, "
    "billing_period_unit VARCHAR, start_date VARCHAR, trial_end VARCHAR, started_at VARCHAR, activated_at VARCHAR, "
    "current_term_start VARCHAR, current_term_end VARCHAR, next_billing_at VARCHAR, cancelled_at VARCHAR, "
    "pause_date VARCHAR, resume_date VARCHAR, changes_scheduled_at VARCHAR, auto_close_invoices VARCHAR, "
    "business_entity_id VARCHAR, created_at VARCHAR, updated_at VARCHAR, "
    "resource_version VARCHAR, deleted VARCHAR, has_scheduled_changes VARCHAR, "
    f"subscription_items {_ITEM}[], item_tiers JSON)"
)

_LINE = (
    "STRUCT(id VARCHAR, subscription_id VARCHAR, entity_type VARCHAR, entity_id VARCHAR, description VARCHAR, "
    "date_from VARCHAR, date_to VARCHAR, unit_amount VARCHAR, quantity VARCHAR, amount VARCHAR)"
)

_NOTE = "STRUCT(cn_id VARCHAR, cn_total VARCHAR, cn_status VARCHAR)"

_INVOICE = (
    "STRUCT(id VARCHAR, status VARCHAR, customer_id VARCHAR, subscription_id VARCHAR, currency_code VARCHAR, "
    "date VARCHAR, price_type VARCHAR, total VARCHAR, business_entity_id VARCHAR, deleted VARCHAR, updated_at VARCHAR, "
    "resource_version VARCHAR, "
    f"line_items {_LINE}[], issued_credit_notes {_NOTE}[], adjustment_credit_notes {_NOTE}[])"
)

CHARGEBEE: dict[str, str] = {
    "customers": f"STRUCT(customer {_CUSTOMER})",
    "subscriptions": f"STRUCT(subscription {_SUBSCRIPTION}, customer {_CUSTOMER})",
    "invoices": f"STRUCT(invoice {_INVOICE})",
    "item_prices": (
        "STRUCT(item_price STRUCT(id VARCHAR, item_id VARCHAR, item_type VARCHAR, currency_code VARCHAR, "
        "status VARCHAR, external_name VARCHAR, name VARCHAR))"
    ),
    "events": (
        "STRUCT(event STRUCT(id VARCHAR, event_type VARCHAR, occurred_at VARCHAR, source VARCHAR, content STRUCT("
        f"subscription {_SUBSCRIPTION}, "
        "customer STRUCT(id VARCHAR, resource_version VARCHAR))))"
    ),
}
"""Entry type of each Chargebee list, one struct per list entry."""

TEXT: dict[str, tuple[str, ...]] = {
    "raw_m3ter__accounts": ("id", "code", "name", "currency", "parentAccountId", "own"),
    "ref_other_sites": ("account_id", "code", "site"),
    "raw_m3ter__account_plans": (
        *("id", "accountId", "planId", "productId", "code", "startDate", "endDate", "billEpoch"),
    ),
    "raw_m3ter__external_mappings": ("id", "m3terEntity", "m3terId", "externalTable", "externalId"),
    "raw_m3ter__plans": ("id", "code", "planTemplateId", "productId"),
    "raw_m3ter__plan_templates": ("id", "code", "currency", "productId"),
    "raw_m3ter__codes": ("kind", "id", "code", "name"),
    "raw_m3ter__bills": (
        "id",
        "version",
        "accountId",
        "accountCode",
        "status",
        "locked",
        "currency",
        "billDate",
        "startDateTimeUTC",
        "endDateTimeUTC",
        "lastCalculatedDate",
        "dtLastModified",
        "billTotal",
    ),
    "raw_m3ter__bill_lines": (
        "billId",
        "id",
        "sequenceNumber",
        "lineItemType",
        "description",
        "convertedSubtotal",
        "quantity",
        "units",
        "unit",
        "productId",
        "productCode",
        "productName",
        "planId",
        "pricingId",
        "aggregationId",
        "compoundAggregationId",
        "segment",
        "contractId",
        "chargeId",
        "commitmentId",
        "balanceId",
        "counterId",
        "referencedLineItemId",
        "childAccountId",
        "servicePeriodStartDate",
        "servicePeriodEndDate",
    ),
    "ref_catalog_plans": ("item_price", "plan", "replace_on"),
    "ref_accounts": ("customer_id", "account_id", "fingerprint", "currency", "parent", "code", "owner_id"),
    "ref_account_digests": ("id", "email", "name"),
    "ref_customer_digests": ("id", "email", "name"),
    "ref_taken_accounts": ("id",),
    "ref_account_plans": (
        "subscription_id",
        "item_price_id",
        "period",
        "account_plan_id",
        "account_id",
        "customer_id",
        "plan_id",
        "product_id",
        "start",
        "end",
        "terms",
        "items",
        "paused",
        "due",
        "due_by",
        "bill_epoch",
        "bill_epoch_asked",
        "source_version",
        "active",
    ),
    "ref_looked_at": ("id",),
    "ref_gone_accounts": ("customer_id", "account_id"),
    "ref_asked": ("resource", "id", "version"),
    "ref_external_mappings": ("entity", "customer_id", "key", "points_at"),
    "ref_charges": (
        "key",
        "bill_id",
        "subscription_id",
        "invoice_id",
        "line_id",
        "amount",
        "currency",
        "fingerprint",
        "reference",
        "entity_type",
        "entity_id",
        "date_from",
        "date_to",
        "customer_id",
        "invoice_status",
        "invoice_date",
        "gone_since",
        "draft",
        "candidates",
        "transit_until",
        "adopted",
        "movable",
        "carried",
        "bill_line_ids",
    ),
    "map_deadlines": ("bill_id", "subscription_id", "invoice_id", "closes_at"),
    "map_moved_charges": (
        "key",
        "draft_id",
        "old_line_id",
        "invoice_id",
        "line_id",
        "invoice_status",
        "gone_since",
        "draft",
        "candidates",
        "transit_until",
    ),
    "ref_touched_bills": ("bill_id",),
    "ref_credit_notes": ("credit_id", "invoice_id", "amount"),
    "ref_undone": ("bill_id", "subscription_id", "lines"),
    "ref_settled": ("bill_id", "subscription_id", "amount"),
    "ref_unproven": ("kind", "bill_id", "subscription_id", "key", "amount", "currency", "payer"),
    "ref_releases": ("bill_id", "currency", "amount"),
    "ref_portions": ("bill_id", "subscription_id", "state", "since"),
    "ref_pending_bills": ("id", "billDate", "accountId", "currency"),
    "ref_bill_states": ("bill_id", "version", "last_calculated", "status", "locked", "finished"),
    "map_accounts": ("customer_id", "action", "account_id", "payload", "reason"),
    "map_account_plans": ("subscription_id", "item_price_id", "period", "action", "payload", "reason"),
    "map_charges": (
        "bill_id",
        "subscription_id",
        "line",
        "action",
        "invoice_id",
        "method",
        "amount",
        "currency",
        "reason",
    ),
    "out_intents": (
        "kind",
        "key",
        "action",
        "target",
        "payload",
        "fingerprint",
        "reason",
        "scope",
        "depends_on",
        "state",
        "amount",
        "currency",
        "source_version",
        "warnings",
        "proposed",
        "proposed_words",
    ),
    "out_next_run": ("subscription_id", "resource_version", "why"),
    "out_set_aside": (
        "decision",
        "kind",
        "key",
        "code",
        "message",
        "amount",
        "currency",
        "until",
        "source_version",
        "due",
        "waits_for",
    ),
    "out_shadow": (
        "bill_id",
        "subscription_id",
        "currency",
        "verdict",
        "what",
        "wanted",
        "found",
        "invoice_id",
        "line_id",
        "evidence",
    ),
    "out_moved_on": ("bill_id", "subscription_id"),
    "run_facts": ("name", "value"),
}
"""Columns of the tables that land as text, in order. Money lands as text and stays it."""
