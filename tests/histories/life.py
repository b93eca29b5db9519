"""One customer's life, drawn from a seed: what its subscriptions, its invoices and its bills go through.

Each customer has dice of its own, so that a history can be replayed with a few customers alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from meterbridge.sandbox.clock import epoch, rfc3339
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World
from tests.histories.people import BY_HAND, People

DAY = 86_400
PLANS = {"EUR": ("api-pro", "support"), "USD": ("api-pro", "support"), "JPY": ("api-pro",)}
ADDONS = {"EUR": ("storage", "messages"), "USD": ("storage", "messages"), "JPY": ()}
METERS = {
    "api": ("api_calls", "calls", 60_000),
    "compute": ("api_compute", "seconds", 90_000),
    "storage": ("storage_gb", "gb", 900),
    "messages": ("messages_sent", "messages", 4_000),
}
CLOSED = ("posted", "payment_due", "not_paid", "paid")


@dataclass
class Life:
    """A customer; ``did`` is what happened to it, in words."""

    world: World
    people: People
    seed: str
    customer_id: str
    did: list[str] = field(default_factory=list)
    born: int = 1

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
                self._new_name(), self.customer_id, self._prices(), epoch(2026, 1, day), quantity=dice.randint(1, 3)
            )
            put_subscription(self.world, seed)

    def _new_name(self) -> str:
        self.born += 1
        return f"{self.customer_id}-s{self.born - 1}"

    def _prices(self) -> tuple[str, ...]:
        plan = self.dice.choice(PLANS[self.currency])
        addons = [one for one in ADDONS[self.currency] if self.dice.random() < 0.4]
        return tuple(f"{one}-{self.currency}-Monthly" for one in (plan, *addons))

    # --- what there is

    @property
    def subscriptions(self) -> list[Row]:
        rows = self.world.chargebee.subscriptions.find("customer_id", self.customer_id)
        return sorted((row for row in rows if not row["deleted"]), key=lambda row: row["id"])

    def invoices(self, *statuses: str) -> list[Row]:
        rows = self.world.chargebee.invoices.find("customer_id", self.customer_id)
        found = [row for row in rows if row["status"] in statuses and not row["deleted"]]
        return sorted(found, key=lambda row: (row["date"], row["id"]))

    @property
    def accounts(self) -> list[Row]:
        rows = self.world.m3ter.accounts.rows()
        code = self.customer_id
        return sorted(
            (r for r in rows if r["code"] == code or r["code"].startswith(f"{code}~")), key=lambda r: r["code"]
        )

    @property
    def bills(self) -> list[Row]:
        ids = {row["id"] for row in self.accounts}
        found = [row for row in self.world.m3ter.bills.rows() if row["accountId"] in ids]
        return sorted(found, key=lambda row: (row["endDate"], row["accountCode"], row["startDate"], row["id"]))

    # --- one step

    def step(self) -> None:
        """Whatever the dice say, a few times."""
        for move, chance in MOVES.items():
            if self.dice.random() < chance:
                told = move(self)
                if told:
                    self.did.append(f"{rfc3339(self.world.clock.now_ms())[:16]} {told}")


def _one(life: Life, rows: list[Row]) -> Row | None:
    return life.dice.choice(rows) if rows else None


# --- Chargebee: subscriptions


def change(life: Life) -> str | None:
    """Another quantity, or an addon comes or goes; now or at the end of the term."""
    row = _one(life, life.subscriptions)
    if row is None:
        return None
    option = life.dice.choice(("immediately", "immediately", "end_of_term"))
    items = {item["item_price_id"]: item["quantity"] for item in row["subscription_items"]}
    plan = row["subscription_items"][0]["item_price_id"]
    addons = [f"{one}-{life.currency}-Monthly" for one in ADDONS[life.currency]]
    what = life.dice.choice(("quantity", "addon", "plan"))
    if what == "addon" and addons:
        addon = life.dice.choice(addons)
        items.pop(addon) if addon in items else items.update({addon: 1})
    elif what == "plan":
        other = f"{life.dice.choice(PLANS[life.currency])}-{life.currency}-Monthly"
        items = {other: items.pop(plan), **items}
    else:
        items[plan] = life.dice.randint(1, 9)
    form: dict[str, Any] = {"change_option": option, "replace_items_list": True}
    for n, (price, quantity) in enumerate(items.items()):
        form |= {f"subscription_items__item_price_id__{n}": price, f"subscription_items__quantity__{n}": quantity}
    done = life.people.chargebee(f"subscriptions/{row['id']}/update_for_items", **form)
    return done and f"{row['id']} changes {option} to {items}"


def _undo_change(life: Life) -> str | None:
    row = _one(life, life.subscriptions)
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/remove_scheduled_changes")
    return done and f"{row['id']} drops its scheduled change" if row else None


def cancel(life: Life) -> str | None:
    """Now, at the end of the term, or in between."""
    row = _one(life, life.subscriptions)
    if row is None:
        return None
    option = life.dice.choice(("immediately", "end_of_term", "specific_date"))
    form: dict[str, Any] = {"cancel_option": option}
    if option == "specific_date":
        form["cancel_at"] = life.world.clock.now() + life.dice.randint(1, 20) * DAY // 2
    done = life.people.chargebee(f"subscriptions/{row['id']}/cancel_for_items", **form)
    return done and f"{row['id']} is cancelled {option}"


def _undo_cancellation(life: Life) -> str | None:
    row = _one(life, [row for row in life.subscriptions if row["status"] == "non_renewing"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/remove_scheduled_cancellation")
    return done and f"{row['id']} stays after all" if row else None


def reactivate(life: Life) -> str | None:
    row = _one(life, [row for row in life.subscriptions if row["status"] == "cancelled"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/reactivate")
    return done and f"{row['id']} is reactivated" if row else None


def subscribe(life: Life) -> str | None:
    """One more subscription, now or later."""
    if len(life.subscriptions) >= 4:
        return None
    name, prices = life._new_name(), life._prices()
    form: dict[str, Any] = {"id": name, "create_pending_invoices": True}
    if life.dice.random() < 0.3:
        form["start_date"] = life.world.clock.now() + life.dice.randint(1, 20) * DAY
    for n, price in enumerate(prices):
        form |= {f"subscription_items__item_price_id__{n}": price, f"subscription_items__quantity__{n}": 1}
    done = life.people.chargebee(f"customers/{life.customer_id}/subscription_for_items", **form)
    return done and f"{name} begins with {prices}"


def delete_subscription(life: Life) -> str | None:
    row = _one(life, [row for row in life.subscriptions if row["status"] == "cancelled"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/delete")
    return done and f"{row['id']} is deleted" if row else None


def rename(life: Life) -> str | None:
    company = f"{life.customer_id} {life.dice.randint(1, 99)} Ltd"
    done = life.people.chargebee(f"customers/{life.customer_id}", company=company)
    return done and f"the customer is now {company}"


# --- Chargebee: invoices


def close(life: Life) -> str | None:
    """A draft of some days is closed by hand."""
    old = [row for row in life.invoices("pending") if row["date"] < life.world.clock.now() - 2 * DAY]
    row = _one(life, old)
    done = row and life.people.chargebee(f"invoices/{row['id']}/close")
    return done and f"draft {row['id']} becomes {done['invoice']['id']}" if row else None


def void(life: Life) -> str | None:
    row = _one(life, life.invoices(*CLOSED))
    done = row and life.people.chargebee(f"invoices/{row['id']}/void")
    return done and f"invoice {row['id']} is voided" if row else None


def delete_invoice(life: Life) -> str | None:
    row = _one(life, life.invoices("pending", *CLOSED))
    done = row and life.people.chargebee(f"invoices/{row['id']}/delete")
    return done and f"invoice {row['id']} is deleted" if row else None


def type_a_line(life: Life) -> str | None:
    row = _one(life, life.invoices("pending"))
    if row is None:
        return None
    at = life.world.clock.now()
    form = {"line_item__date_from": at - 20 * DAY, "line_item__date_to": at, "amount": life.dice.randint(1, 9999)}
    done = life.people.chargebee(f"invoices/{row['id']}/add_charge", description=f"{BY_HAND} {at}", **form)
    return done and f"a person adds {form['amount']} to {row['id']}"


def take_a_line_off(life: Life) -> str | None:
    row = _one(life, life.invoices("pending"))
    line = _one(life, row["line_items"]) if row else None
    if row is None or line is None:
        return None
    done = life.people.chargebee(f"invoices/{row['id']}/delete_line_items", line_items__id__0=line["id"])
    return done and f"a person takes line {line['id']} ({line['amount']}) off {row['id']}"


# --- m3ter


def use(life: Life) -> str | None:
    """Usage of the last days, or late usage of weeks ago."""
    account = _one(life, life.accounts)
    if account is None:
        return None
    code, name, most = METERS[life.dice.choice(tuple(METERS))]
    now = life.world.clock.now()
    at = now - life.dice.choice((1, 1, 1, 12)) * life.dice.randint(1, 3 * DAY)
    amount = Decimal(life.dice.randint(1, most * 100)).scaleb(-2)
    row = {"meter": code, "account": account["code"], "ts": rfc3339(at * 1000), "measure": {name: float(amount)}}
    uid = f"{life.customer_id}-{life.dice.getrandbits(60)}"
    life.people.m3ter("POST", "measurements", {"measurements": [{**row, "uid": uid}]})
    return f"{account['code']} uses {amount} {code} at {row['ts'][:16]}"


def bill(life: Life) -> str | None:
    """m3ter calculates what is complete: new bills, and those that are not locked again."""
    account = _one(life, life.accounts)
    if account is None:
        return None
    life.people.m3ter("POST", "billjobs", {"accountIds": [account["id"]]})
    life.world.advance(1)
    return f"bills of {account['code']} are calculated: {_shown(life)}"


def recalculate(life: Life) -> str | None:
    row = _one(life, life.bills[-4:])
    done = row and life.people.m3ter("POST", "billjobs/recalculate", {"billIds": [row["id"]]})
    life.world.advance(1)
    return done and f"bill {row['id']} is recalculated: {_shown(life)}" if row else None


def approve(life: Life) -> str | None:
    """All that are pending."""
    ids = [row["id"] for row in life.bills if row["status"] == "PENDING" and not row["locked"]]
    done = life.people.m3ter("POST", "bills/approve", {"billIds": ids}) if ids else None
    return done and f"approved: {', '.join(ids)}"


def unapprove(life: Life) -> str | None:
    row = _one(life, [row for row in life.bills if row["status"] == "APPROVED"])
    done = row and life.people.m3ter("PUT", f"bills/{row['id']}/status", {"status": "PENDING"})
    return done and f"bill {row['id']} is pending again" if row else None


def lock(life: Life) -> str | None:
    row = _one(life, [row for row in life.bills if row["status"] == "APPROVED" and not row["locked"]])
    done = row and life.people.m3ter("PUT", f"bills/{row['id']}/lock")
    return done and f"bill {row['id']} is locked" if row else None


def delete_bill(life: Life) -> str | None:
    row = _one(life, life.bills)
    done = row and life.people.m3ter("DELETE", f"bills/{row['id']}")
    return done and f"bill {row['id']} is deleted" if row else None


def memo(life: Life) -> str | None:
    """A credit or a debit of a person in m3ter, on a bill that is not locked."""
    row = _one(life, [row for row in life.bills if row["lineItems"]])
    if row is None:
        return None
    line = life.dice.choice(row["lineItems"])
    kind = life.dice.choice(("creditlineitems", "creditlineitems", "debitlineitems"))
    amount = Decimal(life.dice.randint(1, 40_000)).scaleb(-3)
    body = {
        "amount": float(amount),
        "description": f"memo {life.dice.getrandbits(40)}",
        "productId": line["productId"],
        "accountingProductId": line["productId"],
        "referencedBillId": row["id"],
        "referencedLineItemId": line["id"],
        "servicePeriodStartDate": line["servicePeriodStartDate"],
        "servicePeriodEndDate": line["servicePeriodEndDate"],
    }
    done = life.people.m3ter("POST", f"bills/{row['id']}/{kind}", body)
    return done and f"bill {row['id']} gets {kind} {amount}"


def _shown(life: Life) -> str:
    return ", ".join(f"{row['startDate']}: {row['billTotal']} {row['status']}" for row in life.bills)


MOVES: dict[Callable[[Life], str | None], float] = {
    use: 0.75,
    change: 0.12,
    _undo_change: 0.04,
    cancel: 0.05,
    _undo_cancellation: 0.05,
    reactivate: 0.08,
    subscribe: 0.05,
    delete_subscription: 0.02,
    rename: 0.05,
    close: 0.15,
    void: 0.03,
    delete_invoice: 0.02,
    type_a_line: 0.06,
    take_a_line_off: 0.03,
    bill: 0.35,
    recalculate: 0.12,
    memo: 0.05,
    approve: 0.6,
    unapprove: 0.05,
    lock: 0.06,
    delete_bill: 0.02,
}
"""What may happen in a step, in this order, and how often."""
