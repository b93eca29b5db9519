"""Every state of the crash matrix by name: its world, the steps that lead there, the flow that is harmed on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from connectors.chargebee import webhooks
from meterbridge.ledger import inbox
from meterbridge.sandbox.exact_json import dumps
from meterbridge.sandbox.scenarios import build, month
from meterbridge.sandbox.world import World
from tests.flows import crash_worlds as worlds


@dataclass(frozen=True, slots=True)
class Step:
    """One step towards a state: change the world, run a flow on it, or let its webhooks come."""

    change: Callable[[World], object] | None = None
    flow: str | None = None
    hear: Callable[[World], list[inbox.Event]] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """How a state comes about, and which flow is harmed on it.

    ``patient``: afterwards somebody runs every six minutes until nothing is left to do, for an outcome may take two
    looks some minutes apart. ``sets_aside``: the unharmed run ends with something set aside, as it should.
    """

    scenario: Callable[[], World]
    steps: tuple[Step, ...]
    flow: str
    settings: Mapping[str, str] = field(default_factory=dict)
    patient: bool = False
    sets_aside: bool = False


def single() -> World:
    """One customer with one subscription."""
    return build("single")


def subscription_events(world: World) -> list[inbox.Event]:
    """What Chargebee's webhooks tell of changed subscriptions, and one of a record that is none of ours."""
    told = [event for event in world.chargebee.events.rows() if event["event_type"] == "subscription_changed"]
    heard = [inbox.Event("chargebee", **asdict(webhooks.parse(dumps(event)))) for event in told]
    return [*heard, inbox.Event("chargebee", "ev-stranger", "customer_changed", "customer", "cust-nobody", None, 1)]


def bill_events(world: World) -> list[inbox.Event]:
    """What m3ter's webhooks tell of the bills there are, twice."""
    bills = list(world.m3ter.bills.rows())
    return [
        inbox.Event("m3ter", f"ev-{n}-{bill['id']}", "bill.updated", "bill", bill["id"]) for bill in bills for n in "12"
    ]


SYNCED = Step(flow="sync_subscriptions")
BILLED = Step(change=month.use_and_bill)
CHARGED = Step(flow="sync_bills")
HOUR = Step(change=worlds.an_hour_later)
RAISED = Step(change=worlds.raise_quantity)

USAGE = {"METERBRIDGE_DELIVER_THREADS": "1", "METERBRIDGE_M3TER_INGEST_REQUESTS_PER_SECOND": "1000"}
"""One request at a time, so that request k is the same one in every run."""


def without_a_draft(mode: str) -> Setting:
    """An approved bill for which no pending invoice will come, and what the setting says of such."""
    steps = (SYNCED, BILLED, Step(change=worlds.no_draft_comes))
    more = {"METERBRIDGE_NO_PENDING_INVOICE": mode}
    return Setting(single, steps, "sync_bills", more, patient=True)


SETTINGS: dict[str, Setting] = {
    "new-customer": Setting(single, (), "sync_subscriptions"),
    "quantity-raised": Setting(single, (SYNCED, HOUR, RAISED, HOUR), "sync_subscriptions"),
    "cancelled": Setting(single, (SYNCED, HOUR, Step(change=worlds.cancel), HOUR), "sync_subscriptions"),
    "bill-approved": Setting(single, (SYNCED, BILLED), "sync_bills"),
    "odd-cents": Setting(single, (SYNCED, BILLED, Step(change=worlds.odd_cents)), "sync_bills"),
    "two-equal-lines": Setting(worlds.pair, (SYNCED, BILLED, Step(change=worlds.repeat_a_line)), "sync_bills"),
    "no-draft-create": without_a_draft("create"),
    "no-draft-unbilled": without_a_draft("unbilled"),
    "recalculated": Setting(
        single, (SYNCED, BILLED, CHARGED, Step(change=worlds.amounts("50", "7"))), "sync_bills", patient=True
    ),
    "credit-due": Setting(
        single,
        (SYNCED, BILLED, CHARGED, Step(change=worlds.close_drafts), CHARGED, Step(change=worlds.amounts("1", "2"))),
        "sync_bills",
        {"METERBRIDGE_NEGATIVE_DELTA": "credit_note"},
        patient=True,
    ),
    "negative-bill": Setting(
        single,
        (SYNCED, BILLED, Step(change=worlds.amounts("1", "-2.5"))),
        "sync_bills",
        {"METERBRIDGE_NEGATIVE": "promotional_credit"},
        patient=True,
    ),
    "proposed": Setting(
        single, (SYNCED, BILLED, CHARGED), "approve", {"METERBRIDGE_BILLS_APPROVAL": "required"}, patient=True
    ),
    "charged": Setting(single, (SYNCED, BILLED, CHARGED), "undo", patient=True, sets_aside=True),
    "usage-by-api": Setting(single, (SYNCED,), "usage by api", USAGE, sets_aside=True),
    "usage-by-file": Setting(single, (SYNCED,), "usage by file", USAGE, sets_aside=True),
    "usage-to-chargebee": Setting(
        worlds.metered, (Step(flow="metered usage before"),), "metered usage", USAGE, sets_aside=True
    ),
    "subscription-event": Setting(single, (SYNCED, HOUR, RAISED, Step(hear=subscription_events)), "drain chargebee"),
    "bill-event": Setting(single, (SYNCED, BILLED, Step(hear=bill_events)), "drain m3ter"),
}
