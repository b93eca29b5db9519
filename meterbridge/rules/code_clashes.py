"""Accounts whose codes differ only in case: m3ter takes the first and refuses the second, so it is set aside first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from meterbridge.rules.records import Intent, Key, Quarantined


def clashes(
    intents: Iterable[Intent],
    known: Iterable[str],
    again: frozenset[Key],
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> list[Quarantined]:
    """The creations of accounts that could only be refused.

    Args:
        intents: In the order in which they would be sent.
        known: Codes of accounts that the ledger knows.
        again: Keys of accounts that a person wants tried again, whatever is known.
        elsewhere: By folded code the site of an account that is another site's: that is a fact, not a guess.
    """
    owners = {code.casefold(): code for code in known}
    found = []
    for intent in intents:
        if intent.kind != "account" or intent.action not in ("create", "adopt"):
            continue
        code = str(intent.payload["code"])
        other = elsewhere.get(code.casefold())
        if other is not None:
            found.append(_of_another_site(intent, code, other))
            continue
        owner = owners.setdefault(code.casefold(), code)
        if owner != code and intent.action == "create" and intent.key not in again:
            message = f"customer {intent.key[0]}: its account code would differ from {owner!r} in case only"
            version = intent.source_version
            found.append(Quarantined("account", intent.key, "MB-ACCOUNT-CLASH", message, source_version=version))
    return found


def _of_another_site(intent: Intent, code: str, site: str) -> Quarantined:
    message = (
        f"customer {intent.key[0]}: the account with code {code!r} is a customer's of site {site}; "
        "METERBRIDGE_SITE_IN_IDS=true gives this site's accounts codes of their own"
    )
    return Quarantined("account", intent.key, "MB-ACCOUNT-CLASH", message, source_version=intent.source_version)
