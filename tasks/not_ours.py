"""Bills of accounts that are billed elsewhere: how many there are, and their sum by currency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from meterbridge.ledger import bills, mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import count_of
from meterbridge.rules.records import Decision, OutOfScope

if TYPE_CHECKING:  # `status` needs no DuckDB, which takes half a second to import
    from meterbridge.staging.database import Staging

NOT_OURS = (
    "select decision, key, message, amount, currency from out_set_aside "
    "where kind = 'charge' and decision = 'out_of_scope' and currency is not null order by key"
)


def remembered(rx: Reader) -> list[dict[str, Any]]:
    """Return the sums that the ledger knows to be none of ours, by currency; amounts in minor units."""
    return _sums((row.currency, row.wanted) for row in bills.portions(rx, state="not_ours"))


def seen(rx: Reader, file: Staging) -> list[dict[str, Any]]:
    """As :func:`remembered`, with what a run of bills has just decided in the place of what was known before."""
    decided = {row["id"] for row in file.rows("select id from stg_bills")} if file.count("stg_bills") else set()
    known = [row for row in bills.portions(rx, state="not_ours") if row.bill_id not in decided]
    now = {key_from_text(row["key"])[0]: (row["currency"], int(row["amount"])) for row in file.rows(NOT_OURS)}
    return _sums([*((row.currency, row.wanted) for row in known), *now.values()])


def now_ours(rx: Reader, strange: Iterable[str], known: Mapping[str, bills.BillState]) -> set[str]:
    """Of bills that were none of ours those whose account the ledger knows by now. ``known``: all bills, by id."""
    accounts = {name: known[name].account_id for name in strange if name in known}
    ours = mappings.holders(rx, "account", set(accounts.values()))
    return {name for name, account in accounts.items() if account in ours}


def in_words(rows: Iterable[dict[str, Any]]) -> str:
    """All of them in a line: ``5 bills, 123.00 USD``; empty where there is none."""
    found = list(rows)
    count = sum(row["count"] for row in found)
    sums = ", ".join(amount_text(row["amount"], row["currency"]) for row in found)
    return f"{count_of(count, 'bill')}, {sums}" if count else ""


def sums_of(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """Of decisions on bills those that found one to be none of ours, by currency."""
    strange = [one for one in decisions if isinstance(one, OutOfScope) and one.currency is not None]
    return _sums((one.currency or "", one.amount or 0) for one in strange)


def _sums(rows: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    amounts: dict[str, list[int]] = defaultdict(list)
    for currency, amount in rows:
        amounts[currency].append(amount)
    return [{"currency": name, "count": len(own), "amount": sum(own)} for name, own in sorted(amounts.items())]
