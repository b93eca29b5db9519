"""Whose write it is: what a hold on some customers keeps from being sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select

from meterbridge.errors import OnHold
from meterbridge.ledger import bills, holds, mappings
from meterbridge.ledger.intent_rows import IntentRow, decode
from meterbridge.ledger.schema import intents
from meterbridge.ledger.transaction import Reader, chunks

CHARGED = ("charge", "charge_set", "charge_removal", "credit")
"""Kinds whose key is (bill, subscription, …)."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Customers on hold, with their subscriptions and m3ter accounts as the ledger knows them."""

    customers: frozenset[str]
    subscriptions: frozenset[str]
    accounts: frozenset[str]

    @classmethod
    def of(cls, rx: Reader, customers: Collection[str]) -> Stopped:
        """By the ledger; read by the customers' own index."""
        plans = mappings.of_customers(rx, "account_plan", customers)
        accounts = mappings.of_customers(rx, "account", customers)
        return cls(
            frozenset(customers),
            frozenset(str(one.key[0]) for one in plans),
            frozenset(one.remote_id for one in accounts),
        )

    def concerns(self, rx: Reader, row: IntentRow) -> bool:
        """True if the write is for one of the customers: theirs the subscription, the account or the invoice.

        A write that names nobody is kept back, too: no hold may be overlooked.
        """
        kind, _, rest = row.scope.partition(":")
        named = {row.wanted.get("customer_id"), row.payload.get("customer_id"), *row.payload.get("customers", ())}
        named |= {rest.partition("~")[0]} if kind in ("account", "customer") else set()
        owners = {row.payload.get("subscription_id"), row.key[1] if row.kind in CHARGED else None}
        owners |= {rest} if kind == "subscription" else set()
        owners |= {ref.key[1] for ref in row.depends_on if ref.kind in CHARGED}
        bill_id = row.payload.get("bill_id") or (rest if kind in ("bill", "netted") else None)
        state = bills.get(rx, bill_id) if isinstance(bill_id, str) else None
        if row.kind == "charge_removal":
            charge = mappings.get(rx, "charge", row.key[:3])
            named |= {charge.state.get("customer_id")} if charge else set()
        if named & self.customers or owners & self.subscriptions:
            return True
        if state is not None and state.account_id in self.accounts:
            return True
        return not (named | owners) - {None} and state is None


def held_rows(rx: Reader, kinds: Collection[str], states: Collection[str], held: Collection[str]) -> list[IntentRow]:
    """Rows of these kinds and states that concern a customer on hold."""
    stopped = Stopped.of(rx, held)
    query = select(intents).where(
        intents.c.connection == rx.connection, intents.c.kind.in_(kinds), intents.c.state.in_(states)
    )
    return [row for row in map(decode, rx.execute(query)) if stopped.concerns(rx, row)]


def refuse_held(rx: Reader, ids: Iterable[int]) -> None:
    """Look once more right before an attempt is written down; without a hold one look at an empty index.

    Raises:
        OnHold: MB-ON-HOLD, a person stopped the sending for everybody, or for a customer of one of these rows.
    """
    in_force = holds.active(rx)
    if not in_force:
        return
    holds.refuse_all_held(rx)
    stopped = Stopped.of(rx, {one.customer_id for one in in_force})
    for some in chunks(ids):
        query = select(intents).where(intents.c.connection == rx.connection, intents.c.id.in_(some))
        for row in map(decode, rx.execute(query)):
            if stopped.concerns(rx, row):
                words = "; ".join(one.words for one in in_force)
                raise OnHold("MB-ON-HOLD", f"{row.kind} {row.key[:2]} is not sent: {words}", key=str(row.key[0]))
