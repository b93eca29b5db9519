"""Every parameter that we send to Chargebee, judged by the types of its official SDK.

Chargebee passes over parameters that it does not know, so a misspelt one would be silent.
"""

from typing import Any
from urllib.parse import parse_qsl

import pytest
from chargebee.models.credit_note.operations import CreditNote
from chargebee.models.invoice.operations import Invoice
from chargebee.models.promotional_credit.operations import PromotionalCredit
from chargebee.models.unbilled_charge.operations import UnbilledCharge

from connectors.chargebee import requests
from connectors.transport import Request

CHARGE: requests.Charge = {"amount": 1, "description": "d", "date_from": 1, "date_to": 2}
ITEM: requests.ChargeItem = {"item_price_id": "p", "unit_price": 1, "quantity": 1, "date_from": 1, "date_to": 2}
CREDIT: requests.CreditLine = {"reference_line_item_id": "li", "amount": 1, "description": "d"}


@pytest.mark.parametrize(
    ("request_", "parameters", "groups"),
    [
        pytest.param(
            requests.add_charge(
                "d", amount=1, description="d", date_from=1, date_to=2, subscription_id="s", comment="c"
            ),
            Invoice.AddChargeParams,
            {"line_item": Invoice.AddChargeLineItemParams},
            id="add_charge",
        ),
        pytest.param(
            requests.add_charge_item(
                "d", item_price_id="p", unit_price=1, date_from=1, date_to=2, subscription_id="s", comment="c"
            ),
            Invoice.AddChargeItemParams,
            {"item_price": Invoice.AddChargeItemItemPriceParams},
            id="add_charge_item",
        ),
        pytest.param(
            requests.delete_line_items("d", ["li"]),
            Invoice.DeleteLineItemsParams,
            {"line_items": Invoice.DeleteLineItemsLineItemParams},
            id="delete_line_items",
        ),
        pytest.param(
            requests.close_invoice("d", comment="c", invoice_date=1), Invoice.CloseParams, {}, id="close_invoice"
        ),
        pytest.param(
            requests.create_for_charge_items_and_charges(
                subscription_id="s",
                currency_code="EUR",
                charges=[CHARGE],
                item_prices=[{**ITEM, "description": "d"}],
                create_pending_invoice=True,
                invoice_note="n",
                po_number="p",
                invoice_date=1,
                auto_collection="off",
            ),
            Invoice.CreateForChargeItemsAndChargesParams,
            {
                "charges": Invoice.CreateForChargeItemsAndChargesChargeParams,
                "item_prices": Invoice.CreateForChargeItemsAndChargesItemPriceParams,
            },
            id="create_for_charge_items_and_charges",
        ),
        pytest.param(
            requests.create_unbilled_charges(
                subscription_id="s", currency_code="EUR", charges=[CHARGE], item_prices=[ITEM]
            ),
            UnbilledCharge.CreateParams,
            {"charges": UnbilledCharge.CreateChargeParams, "item_prices": UnbilledCharge.CreateItemPriceParams},
            id="create_unbilled_charges",
        ),
        pytest.param(
            requests.create_credit_note(
                reference_invoice_id="1",
                type_="adjustment",
                line_items=[CREDIT],
                create_reason_code="r",
                comment="c",
                customer_notes="n",
            ),
            CreditNote.CreateParams,
            {"line_items": CreditNote.CreateLineItemParams},
            id="create_credit_note",
        ),
        pytest.param(
            requests.add_promotional_credit(
                customer_id="c", amount=1, currency_code="EUR", description="d", reference="r"
            ),
            PromotionalCredit.AddParams,
            {},
            id="add_promotional_credit",
        ),
    ],
)
def test_every_parameter_is_one_that_chargebee_knows(
    request_: Request, parameters: type[Any], groups: dict[str, type[Any]]
) -> None:
    assert request_.body is not None
    for name, _ in parse_qsl(request_.body):
        group, _, rest = name.partition("[")
        assert group in parameters.__annotations__, name
        if rest:
            assert rest.split("]")[0] in groups[group].__annotations__, name
