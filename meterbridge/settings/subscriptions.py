"""Settings of subscriptions → account plans."""

from __future__ import annotations

from typing import Literal

from pydantic_settings import BaseSettings

from meterbridge.settings.fields import own


class SubscriptionSettings(BaseSettings):
    """Subscriptions."""

    # subscriptions
    hierarchy: Literal["invoice_owner", "all_with_child_billing", "off"] = own(
        "hierarchy", "invoice_owner", about="Which accounts get a parent account."
    )
    trial: Literal["free", "billed"] = own("trial", "free", about="Whether usage in a trial is billed.")
    replace_on: Literal["mapped_plan", "material", "any_change"] = own(
        "replace_on",
        "material",
        about="Which changes end an account plan and start a new one; `replace_on` in the catalog, for one item price.",
    )
    on_product_overlap: Literal["quarantine", "child_account"] = own(
        "on_product_overlap", "quarantine", about="Two subscriptions of a customer on one product."
    )
    on_foreign_edit: Literal["report", "repair"] = own(
        "on_foreign_edit", "report", about="An account plan or account of ours that somebody changed in m3ter by hand."
    )
    on_similar_account: Literal["quarantine", "adopt", "create"] = own(
        "on_similar_account",
        "quarantine",
        about="An account of nobody that has a new customer's e-mail or name.",
    )
    site_in_ids: bool = own(
        "site_in_ids",
        False,
        about="Put the site before m3ter's codes and external ids: for an organisation that serves several sites.",
    )
    placeholder_email_domain: str = own(
        "placeholder_email_domain",
        "invalid.example",
        about="Domain of the placeholder for customers without an e-mail.",
    )
