"""m3ter's own integrations, judged: which of them sends the same bills to Chargebee as we do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

ALLOWED = frozenset({"accountids", "allowedaccountids", "includedaccountids"})
RESTRICTED = frozenset({"restrictedaccountids", "excludedaccountids", "deniedaccountids"})
"""How ``configData`` may name its lists. m3ter documents the options, not their keys (guide, read 2026-07)."""


def sending_bills(configurations: Iterable[Mapping[str, Any]], ours: Collection[str]) -> list[str]:
    """Names of the enabled integration configurations that send bills of our accounts to Chargebee, sorted.

    A configuration is left out only if its lists prove that it concerns none of our
    accounts; a filter expression proves nothing, nor does a list under a name that we
    do not know.

    Args:
        ours: m3ter ids of the accounts that we bill; while there are none, every configuration counts.
    """
    return sorted(
        str(one.get("name") or one.get("id"))
        for one in configurations
        if str(one.get("destination", "")).casefold() == "chargebee"
        and str(one.get("entityType", "")).casefold() == "bill"
        and one.get("enabled")
        and _covers(one.get("configData"), ours)
    )


def _covers(options: object, ours: Collection[str]) -> bool:
    if not isinstance(options, Mapping) or not ours:
        return True
    allowed = _ids(options, ALLOWED)
    covered = set(ours) & allowed if allowed else set(ours)
    return bool(covered - _ids(options, RESTRICTED))


def _ids(options: Mapping[str, Any], names: Collection[str]) -> set[str]:
    found: set[str] = set()
    for name, value in options.items():
        if "".join(filter(str.isalnum, str(name))).casefold() in names:
            ids = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
            found |= {str(one).strip() for one in ids} - {""}
    return found
