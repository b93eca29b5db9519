"""Which names m3ter lets external mappings use; they differ between organisations."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.m3ter.models import MappingConfiguration

MAPPING_NAMES = {
    "bill": ("Bill",),
    "line": ("BillLineItem", "BillItem", "LineItem"),
    "invoice": ("Invoice",),
    "invoice_line": ("InvoiceLineItem", "InvoiceItem", "LineItem"),
}
"""Entity and table names for bills and their lines by role; the first permitted one is used."""

NEEDED_NAMES = {
    "account": ("Account",),
    "account_plan": ("AccountPlan",),
    "customer": ("Customer",),
    "subscription": ("Subscription",),
}
"""The names that accounts and account plans are mapped under: there is no other way to say it."""

TABLE_ROLES = frozenset({"invoice", "invoice_line", "customer", "subscription"})
"""Roles at Chargebee's side, where an organisation may permit any name."""


def mapping_names(
    configuration: MappingConfiguration, roles: Mapping[str, tuple[str, ...]] = MAPPING_NAMES
) -> dict[str, str]:
    """Role → name, for the roles that this organisation permits a name for; the others are left out."""
    chargebee = [system for system in configuration.external_systems if system.name == "Chargebee"]
    tables = {table for system in chargebee for table in system.tables}
    custom = any(system.allow_custom_external_tables for system in chargebee)
    found = {}
    for role, candidates in roles.items():
        is_table = role in TABLE_ROLES
        permitted = tables if is_table else set(configuration.m3ter_entities)
        fitting = [name for name in candidates if name in permitted]
        if fitting or (custom and is_table):
            found[role] = fitting[0] if fitting else candidates[0]
    return found
