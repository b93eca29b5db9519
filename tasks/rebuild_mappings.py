"""m3ter's external mappings, taken over by an older or lost ledger as they stand there. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meterbridge.ledger import facts, mappings
from meterbridge.ledger.ledger import Writer
from meterbridge.ledger.mappings import Mapping
from meterbridge.rules.charge_mappings import KINDS, Names
from meterbridge.rules.found_mappings import Booked, Found, made_of, of_accounts, of_bills
from meterbridge.rules.recall import mark_of
from meterbridge.rules.records import Key
from meterbridge.staging.database import Staging
from tasks.runs import Run

Belonging = tuple[str, dict[str, Any]]
"""A mapping's scope and state."""

OF_ACCOUNTS = ("Account", "AccountPlan")
OF_BILLS = (*KINDS, "Netted")
"""The names that the keys of a bill's mappings begin with."""


def take_over_account_mappings(tx: Writer, file: Staging, run: Run) -> int:
    """Those of the accounts and account plans that the ledger holds by now; returns how many it did not know so."""
    known = _Known.of(tx, OF_ACCOUNTS)
    accounts = {one.key: one for one in mappings.all(tx, "account", active_only=True)}
    plans = {one.key: one for one in mappings.all(tx, "account_plan", active_only=True)}
    owners = {key[0]: str(one.state.get("customer_id") or key[0]) for key, one in accounts.items()}
    owners |= {one.remote_id: str(one.state["customer_id"]) for one in plans.values()}
    found = of_accounts(known.first(_found(file)), _ids(accounts), _ids(plans))
    return known.take_over(tx, ((key, one, _of_customer(owners, key, one)) for key, one in found), run)


def take_over_bill_mappings(tx: Writer, file: Staging, run: Run) -> int:
    """Those of the charges that the ledger holds by now; returns how many it did not know, or knew otherwise.

    A charge that was found is made of the bill lines that m3ter maps to it: its bill may have others since.
    """
    known = _Known.of(tx, OF_BILLS)
    names = Names.of(json.loads(facts.get(tx, "m3ter_mapping_names") or "{}"))
    found = known.first(_found(file))
    charges = list(mappings.all(tx, "charge", active_only=True))
    lines = made_of(found, names)
    for one in charges:
        ids = lines.get(one.remote_id)
        if ids and one.run_id == run.run_id and one.state["bill_line_ids"] != ids:
            mappings.put(tx, replace(one, state={**one.state, "bill_line_ids": ids}))
    bills = {row["id"]: row["bill_id"] for row in file.rows("select id, bill_id from stg_bill_lines")}
    booked = [
        Booked(one.state["bill_id"], one.state["subscription_id"], one.remote_id, tuple(_marks(one))) for one in charges
    ]
    ours = of_bills(found, booked, names, bills)
    return known.take_over(tx, ((key, one, (key[1], {"points_at": one.external_id})) for key, one in ours), run)


@dataclass(frozen=True, slots=True)
class _Known:
    """The mappings that the ledger holds, by key and by their ids at m3ter."""

    by_key: dict[Key, Mapping]
    by_id: dict[str, Mapping]

    @classmethod
    def of(cls, tx: Writer, entities: Sequence[str]) -> _Known:
        rows = [one for one in mappings.all(tx, "external_mapping", active_only=True) if one.key[0] in entities]
        return cls({one.key: one for one in rows}, {one.remote_id: one for one in rows})

    def first(self, found: Iterable[Found]) -> list[Found]:
        """Those that the ledger holds come first: of twins it keeps its own."""
        return sorted(found, key=lambda one: (one.id not in self.by_id, one.id))

    def take_over(self, tx: Writer, found: Iterable[tuple[Key, Found, Belonging]], run: Run) -> int:
        """Put what is not known so. One that was pointed elsewhere keeps the key that it was made under."""
        news = []
        for key, one, (scope, state) in found:
            before = self.by_id.get(one.id) or self.by_key.get(key)
            if before is None:
                news.append(Mapping("external_mapping", key, one.id, "", scope, state, run_id=run.run_id))
            elif before.remote_id != one.id or before.state.get("points_at", one.external_id) != one.external_id:
                news.append(replace(before, remote_id=one.id, state={**before.state, **state}))
        mappings.put(tx, *news)
        return len(news)


def _of_customer(owners: dict[str, str], key: Key, one: Found) -> Belonging:
    owner = owners[key[1] if key[0] == "Account" else one.m3ter_id]
    return owner, {"customer_id": owner}


def _marks(charge: Mapping) -> Iterator[str]:
    return (mark_of(charge.key, part) for part in charge.state.get("carried", ()))


def _ids(rows: dict[Key, Mapping]) -> dict[Key, str]:
    return {key: one.remote_id for key, one in rows.items()}


def _found(file: Staging) -> Iterator[Found]:
    sides = ("id", "m3terEntity", "m3terId", "externalTable", "externalId")
    for row in file.rows("select * from raw_m3ter__external_mappings order by id"):
        yield Found(*(row[name] for name in sides))
