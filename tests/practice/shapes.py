"""Every key that a case may use. What is not here is refused with the file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANY: Any = object()
"""Whatever is written there."""


@dataclass(frozen=True)
class Named:
    """A mapping whose keys are the reader's own names; ``of`` is what each of them holds."""

    of: Any


def _keys(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), ANY)


SCHEMA: Mapping[str, Any] = {
    "title": ANY,
    "chapter": ANY,
    "set_up": ANY,
    "core": ANY,
    "settings": Named(ANY),
    "settings_that_matter": Named(ANY),
    "switches": Named(ANY),
    "catalog": {"plans": Named(ANY), "charges": [ANY]},
    "site": {
        "customers": Named(
            _keys("company email currency auto_collection net_term_days consolidated_invoicing paid_by")
        ),
        "subscriptions": Named(
            _keys("customer items since status ends quantity pending_invoices business_entity copies")
        ),
        "prices": Named(_keys("item kind price every")),
    },
    "organisation": {
        "settings": Named(ANY),
        "accounts": Named(_keys("name email currency site")),
        "account_plans": [_keys("account plan from until mapped_as")],
        "plans": Named(_keys("product currency")),
        "native_integration": ANY,
    },
    "what_happens": ANY,
    "in_the_end": {
        **_keys("accounts account_plans unbilled credits invoices_say"),
        "mappings": Named(ANY),
        "invoices": Named(ANY),
        "report": {
            **_keys("exit_code fails set_aside waiting awaiting_approval differences says"),
            "subscriptions": Named(ANY),
            "bills": Named(ANY),
        },
    },
    "goes_wrong_today": ANY,
}
REQUIRED = ("title", "chapter", "set_up", "site", "what_happens", "in_the_end")

DEEDS: Mapping[str, Any] = {
    "bridge": _keys("full"),
    "chargebee": Named(ANY),
    "row": Named(ANY),
    "m3ter": Named(ANY),
    "close": ANY,
    "bill": _keys("account from until lines currency approved locked date"),
    "use": Named(ANY),
    "bill_job": _keys("accounts until approve"),
    "approve": _keys("by"),
    "command": ANY,
    "settings": Named(ANY),
    "switches": Named(ANY),
    "catalog": {"plans": Named(ANY), "charges": [ANY]},
}
"""The names of deeds; :mod:`tests.practice.deeds` has a function of each name."""
