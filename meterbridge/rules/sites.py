"""Several Chargebee sites in one m3ter organisation: whose an account is, and under which names it stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIELD = "chargebee_site"
"""The custom field of an account that names its customer's site."""

TABLES = ("Customer", "Subscription")
"""The Chargebee tables whose external ids have a site in them."""


@dataclass(frozen=True, slots=True)
class Site:
    """This connection's site; ``in_ids``: its name stands before codes and external ids, after it a colon."""

    name: str
    in_ids: bool = False

    @property
    def prefix(self) -> str:
        """Return the text that stands before each id; empty where none does."""
        return f"{self.name}:" if self.in_ids else ""

    def other(self, account: Mapping[str, Any]) -> str | None:
        """The site that the account is another one's by; None where it is ours or does not say."""
        found = _of(account)
        return None if found is None or found.casefold() == self.name.casefold() else found

    def given(self, text: str) -> str:
        """An id of Chargebee's as m3ter is told it."""
        return f"{self.prefix}{text}"

    def taken(self, text: str) -> str | None:
        """The id that m3ter was told, without the site; None where another site may have told it."""
        if not self.in_ids:
            return text
        return text.removeprefix(self.prefix) if text.startswith(self.prefix) else None

    def own_code(self, account: Mapping[str, Any]) -> str:
        """The customer's id, as far as the account's code tells; empty where the code may be another site's."""
        code = str(account.get("code") or "")
        return self.taken(code) or (code if _of(account) else "")

    def marked(self, fields: Mapping[str, Any] | None) -> dict[str, Any]:
        """The custom fields that an account has, with its site."""
        return {**(fields or {}), FIELD: self.name}


def _of(account: Mapping[str, Any]) -> str | None:
    found = (account.get("customFields") or {}).get(FIELD)
    return found if isinstance(found, str) and found else None
