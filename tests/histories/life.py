"""One customer's life, drawn from a seed: what its subscriptions, its invoices and its bills go through.

Each customer has dice of its own, so that a history can be replayed with a few customers alone; and so has each
of its moves in each step: another move, or one left out, changes nothing of what the others draw.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meterbridge.sandbox.clock import epoch, rfc3339
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World
from tests.histories.people import People

DAY = 86_400
PLANS = {"EUR": ("api-pro", "support"), "USD": ("api-pro", "support"), "JPY": ("api-pro",)}
ADDONS = {"EUR": ("storage", "messages"), "USD": ("storage", "messages"), "JPY": ()}
PAYER = "-payer"
"""Ends the id of the customer who pays for one."""
HEIR = "-heir"
"""Ends the id of the customer to whom a subscription of one is moved."""
Move = Callable[["Life"], str | None]
"""What may happen to a customer; returns it in words, None where it cannot or the vendor refuses."""


@dataclass
class Life:
    """A customer; ``did`` is what happened to it, in words, and ``happened`` how often each move did."""

    world: World
    people: People
    seed: str
    customer_id: str
    did: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    born: int = 1
    steps: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.seed} {self.customer_id}")
        self.currency = self.dice.choices(("EUR", "USD", "JPY"), (6, 3, 1))[0]

    def begin(self) -> None:
        """The customer and its first subscriptions, as they stand when the history begins."""
        dice = self.dice
        more: dict[str, Any] = {"auto_collection": dice.choice(("on", "off"))}
        if dice.random() < 0.25:
            more["consolidated_invoicing"] = True
        put_customer(self.world, self.customer_id, f"{self.customer_id} Ltd", self.currency, **more)
        for _ in range(dice.choices((1, 2), (7, 3))[0]):
            day = dice.choice((1, 1, 5, 10, 15, 28, 31))
            seed = SubscriptionSeed(
                self.new_name(), self.customer_id, self.prices(), epoch(2026, 1, day), quantity=dice.randint(1, 3)
            )
            put_subscription(self.world, seed)
        if dice.random() < 0.12:
            self.find_payer()

    def new_name(self) -> str:
        self.born += 1
        return f"{self.customer_id}-s{self.born - 1}"

    def prices(self) -> tuple[str, ...]:
        plan = self.dice.choice(PLANS[self.currency])
        addons = [one for one in ADDONS[self.currency] if self.dice.random() < 0.4]
        return tuple(f"{one}-{self.currency}-Monthly" for one in (plan, *addons))

    def find_payer(self) -> None:
        """Another customer's invoices bear this one's charges from now on."""
        name = f"{self.customer_id}{PAYER}"
        self.people.chargebee("customers", id=name, company=f"{name} Ltd", preferred_currency_code=self.currency)
        self.people.chargebee(f"customers/{self.customer_id}/relationships", invoice_owner_id=name)

    # --- what there is

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the customer, of who pays for it, and of who takes a subscription over."""
        return tuple(f"{self.customer_id}{suffix}" for suffix in ("", PAYER, HEIR))

    @property
    def subscriptions(self) -> list[Row]:
        rows = [row for name in self.names for row in self.world.chargebee.subscriptions.find("customer_id", name)]
        return sorted((row for row in rows if not row["deleted"]), key=lambda row: row["id"])

    def invoices(self, *statuses: str) -> list[Row]:
        """The customer's own ones, and those of who pays for it or took a subscription over."""
        rows = [row for name in self.names for row in self.world.chargebee.invoices.find("customer_id", name)]
        found = [row for row in rows if row["status"] in statuses and not row["deleted"]]
        return sorted(found, key=lambda row: (row["date"], row["id"]))

    @property
    def accounts(self) -> list[Row]:
        rows = self.world.m3ter.accounts.rows()
        return sorted((row for row in rows if row["code"].split("~")[0] in self.names), key=lambda row: row["code"])

    @property
    def bills(self) -> list[Row]:
        ids = {row["id"] for row in self.accounts}
        found = [row for row in self.world.m3ter.bills.rows() if row["accountId"] in ids]
        return sorted(found, key=lambda row: (row["endDate"], row["accountCode"], row["startDate"], row["id"]))

    def one(self, rows: list[Row]) -> Row | None:
        """Any of them."""
        return self.dice.choice(rows) if rows else None

    # --- one step

    def step(self, moves: Mapping[Move, float]) -> None:
        """Whatever the dice say, in the order given."""
        self.steps += 1
        for move, chance in moves.items():
            name = move.__name__
            self.dice = random.Random(f"{self.seed} {self.customer_id} {self.steps} {name}")
            if self.dice.random() < chance:
                told = move(self)
                if told:
                    self.happened[name] += 1
                    self.did.append(f"{rfc3339(self.world.clock.now_ms())[:16]} {told}")
