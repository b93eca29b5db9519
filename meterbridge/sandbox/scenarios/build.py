"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable

from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.catalogue import put_catalogue
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.scenarios.demo import START, put_demo
from meterbridge.sandbox.scenarios.living import put_living
from meterbridge.sandbox.world import World

_SEEDED_AT = epoch(2026, 3, 16, 12)
_JANUARY = epoch(2026, 1, 1)
_MANY = 20_000


def _put_single(world: World, _subscriptions: int) -> None:
    put_customer(world, "cust-single", "Single Ltd", "EUR")
    put_subscription(world, SubscriptionSeed("sub-single", "cust-single", ("api-pro-EUR-Monthly",), _JANUARY))


def _put_large(world: World, subscriptions: int) -> None:
    """One customer each, three kinds in turn; no closed invoices, so that building stays quick."""
    kinds = (
        ("EUR", ("api-pro-EUR-Monthly",)),
        ("USD", ("api-pro-USD-Monthly", "storage-USD-Monthly")),
        ("EUR", ("support-EUR-Monthly", "messages-EUR-Monthly")),
    )
    for number in range(subscriptions):
        currency, prices = kinds[number % len(kinds)]
        customer_id = f"cust-{number:06d}"
        # Several rows share a second, as after an import; not all of them do.
        with world.clock.held(world.clock.now_ms() + number * 300):
            put_customer(world, customer_id, f"Customer {number:06d}", currency)
            seed = SubscriptionSeed(f"sub-{number:06d}", customer_id, prices, _JANUARY)
            put_subscription(world, seed, invoice=False)


_PUT: dict[str, Callable[[World, int], None]] = {
    "demo": lambda world, _subscriptions: put_demo(world),
    "single": _put_single,
    "empty": lambda _world, _subscriptions: None,
    "large": _put_large,
    "living": lambda world, _subscriptions: put_living(world),
}
NAMES = tuple(_PUT)


def build(name: str, *, seed: int = 7, subscriptions: int | None = None) -> World:
    """A world that begins on 2026-03-17T09:00Z; its rows were made the day before.

    Raises:
        ValueError: No scenario has this name.
    """
    if name not in _PUT:
        raise ValueError(f"no scenario {name}; there are {', '.join(NAMES)}")
    world = World(START, seed=seed)
    world.facts |= {"start": START, "usage": {}, "pending_bill_of": [], "scenario": name}
    with world.clock.held(_SEEDED_AT * 1000):
        put_catalogue(world)
        _PUT[name](world, _MANY if subscriptions is None else subscriptions)
    return world
