"""Facts about the vendors that no source settles: each one a switch, so that tests can prove both."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

M3TER_ENTITIES = ("Account", "AccountPlan", "Bill", "BillLineItem", "Plan", "Product")
CHARGEBEE_TABLES = ("Customer", "Subscription", "Invoice", "InvoiceLineItem")


@dataclass(slots=True)
class Switches:
    """Defaults are the reading judged most likely; every name can be set by POST /_sandbox/switches."""

    lenient: bool = False  # True: unknown parameters are ignored, as the vendors do
    # Chargebee
    draft_line_ids_on_close: str = "keep"  # keep | renew
    draft_after_close: str = "gone"  # gone | readable: GET by id still answers
    invoice_date_on_close: str = "keep"  # keep | closing
    comments_survive_close: bool = True
    closed_invoice_write_status: int = 409  # add_* on a closed invoice: 409 or 400
    invoiced_charge_status: int = 404  # deleting an unbilled charge that was invoiced: 404, 409 or 400
    idempotency_stores_errors: bool = True  # 4xx answers are replayed; 429 and 5xx never
    in_flight_duplicate_status: int = 409  # the same key while the first call still runs: 409 or 429
    key_mismatch_status: int = 422  # the same key with another request: 422 or 400
    card_declined: bool = False  # True: an invoice made by one call is left in payment_due, not pending
    price_override: bool = True  # add_charge_item takes unit_price; False: ignores it and uses the item price's own
    zero_price_charge_item: bool = True  # False: 400
    list_lag_seconds: int = 0
    list_repeats: int = 0  # each page after the first begins with so many rows of the page before
    list_moves: int = 0  # after each page so many rows of the next one are touched: they move to the end by updated_at
    resumed_keeps_dates: bool = False  # a resumed subscription still shows pause_date and resume_date
    backdated_keeps_instant: bool = True  # the event of a backdated change shows changes_scheduled_at
    moves_emit_events: bool = True  # merging customers emits moved_out and moved_in for each subscription
    merge_deletes_source: bool = False  # True: the customer that is merged into another one is deleted
    time_travel_seconds: int = 0  # how long Time Machine shows that the site is on its way
    auto_close_seconds: int = 0  # 0: drafts are closed by hand
    notify_pending_invoices: bool = True  # event pending_invoice_created
    product_catalog_version: str = "v2"  # v2 | v1
    usages_per_subscription: int = 5_000  # ever made, deleted ones included
    usage_quantity_from_one: bool = True  # False: 0 and fractions below 1 are taken
    metered_billing: bool = True  # False: no invoice is ever pending
    chargebee_per_minute: int = 0  # 0: no limit
    # webhooks of both vendors; by chance, but the same in each run of one seed
    webhook_loss_percent: int = 0
    webhook_duplicate_percent: int = 0
    webhook_jitter_seconds: int = 0  # each delivery waits 0 to so many seconds: they overtake one another
    # m3ter
    m3ter_per_second: int = 0  # 0: no limit
    m3ter_token_seconds: int = 18_000
    m3ter_wrong_key_status: int = 401  # 401 | 403
    stale_version_status: int = 400  # 400 | 409
    duplicate_code_status: int = 400  # 400 | 409
    line_ids_on_recalculation: str = "renew"  # renew | keep
    duplicate_mappings: str = "allow"  # allow | refuse
    bill_job_seconds: int = 0
    bill_epoch_change: str = "in_place"  # in_place | at_replacement: an update answers 200 and keeps the old epoch
    mapping_entities: list[str] = field(default_factory=lambda: list(M3TER_ENTITIES))
    mapping_tables: list[str] = field(default_factory=lambda: list(CHARGEBEE_TABLES))
    mapping_custom_tables: bool = True

    def update(self, wanted: dict[str, Any]) -> None:
        """Set some switches.

        Raises:
            ValueError: A name is unknown or a value has another type than the default.
        """
        known = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        for name, value in wanted.items():
            if name not in known:
                raise ValueError(f"no switch {name}; there are {', '.join(sorted(known))}")
            if type(value) is not known[name]:
                raise ValueError(f"switch {name} takes {known[name].__name__}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}
