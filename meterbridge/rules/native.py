"""m3ter's own integrations, judged: which of them sends the same bills to Chargebee as we do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def sending_bills(configurations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the enabled integration configurations of m3ter that send bills to Chargebee, sorted.

    Which accounts such a configuration covers is not documented, so any of them counts.
    """
    return sorted(
        str(one.get("name") or one.get("id"))
        for one in configurations
        if str(one.get("destination", "")).casefold() == "chargebee"
        and str(one.get("entityType", "")).casefold() == "bill"
        and one.get("enabled")
    )
