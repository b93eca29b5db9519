"""The credits that Chargebee shows, with the reference that each carries in its text, wherever a person wrote on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.chargebee.client import ChargebeeClient
from meterbridge.rules.credits import FoundCredit
from meterbridge.rules.keys import ANY_REFERENCE

GIVEN = {
    "promotional_credit": ("promotional_credits", "description", "amount"),
    "credit_note": ("credit_notes", "customer_notes", "total"),
}
"""By method: the list, the field of the text, the field of the amount."""


def given(chargebee: ChargebeeClient, method: str, customer_id: str | None = None) -> Iterator[FoundCredit]:
    """Credits that stand and carry a reference: of one customer, or all."""
    resource, text, amount = GIVEN[method]
    filters = {} if customer_id is None else {"customer_id[is]": customer_id}
    for entry in chargebee.rows(resource, filters):
        one: Mapping[str, Any] = entry[method]
        found = ANY_REFERENCE.search(str(one.get(text) or ""))
        if found is None or one.get("deleted") or one.get("status") == "voided" or one.get("type") == "decrement":
            continue
        yield FoundCredit(
            id=str(one["id"]),
            method=method,
            customer_id=str(one["customer_id"]),
            amount=int(one[amount]),
            currency=str(one["currency_code"]),
            reference=found[0][1:-1],
            invoice_id=str(one.get("reference_invoice_id") or ""),
            type=str(one.get("type") or ""),
        )
