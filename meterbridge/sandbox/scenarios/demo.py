"""The demonstration's world: some thirty subscriptions, each awkward case of the real thing once."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, new_invoice
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.accounts import ACCOUNT
from meterbridge.sandbox.m3ter.measurements import ingest
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

START = epoch(2026, 3, 17, 9)
_API_EUR, _API_USD, _API_JPY = "api-pro-EUR-Monthly", "api-pro-USD-Monthly", "api-pro-JPY-Monthly"
_STORAGE_EUR, _STORAGE_USD = "storage-EUR-Monthly", "storage-USD-Monthly"
_MESSAGES_EUR, _MESSAGES_USD = "messages-EUR-Monthly", "messages-USD-Monthly"
_JANUARY = epoch(2026, 1, 1)


def put_demo(world: World) -> None:
    for put in (_put_plain, _put_many_items, _put_names, _put_accounts, _put_money, _put_states, _put_terms):
        put(world)
    # This customer's bill stays unapproved: nothing of it may reach Chargebee.
    world.facts["pending_bill_of"] = ["cust-pending-bill"]


def _one(world: World, customer: str, prices: tuple[str, ...], *, company: str | None = None, **more: Any) -> None:
    """A customer with one subscription `<customer>-sub`; `more` is for the subscription, `customer_…` for the other."""
    currency = prices[0].split("-")[-2]
    fields = {name.removeprefix("customer_"): more.pop(name) for name in list(more) if name.startswith("customer_")}
    seed: dict[str, Any] = {"id": f"{customer}-sub", "started_at": _JANUARY} | more
    with world.clock.held(world.clock.now_ms() + len(world.chargebee.customers) * 1000):
        put_customer(world, customer, company or customer.replace("-", " ").title(), currency, **fields)
        put_subscription(world, SubscriptionSeed(customer_id=customer, prices=prices, **seed))


def _put_plain(world: World) -> None:
    """The everyday kind, so that the awkward ones stand out."""
    _one(world, "cust-larkspur", (_API_EUR,))
    _one(world, "cust-fennel", (_API_EUR, _STORAGE_EUR))
    _one(world, "cust-yarrow", (_API_USD,))
    _one(world, "cust-sorrel", (_API_USD, _STORAGE_USD))
    _one(world, "cust-tansy", (_API_EUR, _MESSAGES_EUR))
    _one(world, "cust-borage", ("support-EUR-Monthly", _STORAGE_EUR))
    _one(world, "cust-comfrey", ("support-USD-Monthly", _MESSAGES_USD))


def _put_many_items(world: World) -> None:
    # Three mapped items in one subscription: three account plans, one bill, one draft.
    _one(world, "cust-multi-item", (_API_EUR, _STORAGE_EUR, _MESSAGES_EUR))
    # One item has no plan in m3ter: the others must not suffer.
    _one(world, "cust-partly-mapped", (_API_EUR, "priority-EUR-Monthly"))
    # Nothing mapped at all: this customer needs no account.
    _one(world, "cust-legacy", ("legacy-EUR-Monthly",))
    # Two subscriptions on one product: m3ter allows one active plan of a product on an account.
    _one(world, "cust-two-subscriptions", (_API_USD,))
    seed = SubscriptionSeed("cust-two-subscriptions-second", "cust-two-subscriptions", (_API_USD,), epoch(2026, 2, 1))
    put_subscription(world, seed)
    # Consolidated invoicing: one draft for both subscriptions, which names neither.
    _one(world, "cust-consolidated", (_API_EUR,), customer_consolidated_invoicing=True)
    support = ("support-EUR-Monthly", _STORAGE_EUR)
    put_subscription(world, SubscriptionSeed("cust-consolidated-support", "cust-consolidated", support, _JANUARY))


def _put_names(world: World) -> None:
    # m3ter requires an e-mail address, Chargebee does not.
    _one(world, "cust-no-email", (_API_EUR,), customer_email=None)
    # Spaces and letters beyond ASCII, in ids that end up in paths, forms and external ids.
    _one(world, "Ünïcode Städte 7", (_API_EUR,), id="Abo Städte 7/ß", company="Ünïcode Städte GmbH & Co. KG")
    # Two customers whose ids differ only in case: to m3ter the codes clash, to Chargebee they are two companies.
    _one(world, "Acme", (_API_USD,), company="Acme Corporation")
    _one(world, "acme", (_API_USD,), company="acme collective")
    # Very old rows have no updated_at, and every filter on it drops them.
    _one(world, "cust-before-2016", (_API_EUR,), started_at=epoch(2016, 3, 1))
    for table, row_id in (
        (world.chargebee.customers, "cust-before-2016"),
        (world.chargebee.subscriptions, "cust-before-2016-sub"),
    ):
        row = table.get(row_id) or {}
        bare = {name: value for name, value in row.items() if name != "updated_at"}
        table.put(row_id, bare, world.clock.now_ms())


def _put_accounts(world: World) -> None:
    # Someone made this account by hand: adopt it, keep what it has, make no twin.
    _one(world, "cust-preexisting", (_API_EUR,))
    account = {
        "name": "Preexisting (entered by hand)",
        "code": "cust-preexisting",
        "emailAddress": "finance@preexisting.example",
        "purchaseOrderNumber": "PO-4711",
        "customFields": {"tier": "gold"},
    }
    world.m3ter.account_ids_by_folded_code["cust-preexisting"] = entities.insert(world.m3ter, ACCOUNT, account)["id"]
    # Usage came before the customer: m3ter made a skeleton with the code, and a name that says so.
    _one(world, "cust-skeleton", (_API_EUR,))
    early = {"meter": "api_calls", "account": "cust-skeleton", "ts": "2026-02-27T08:00:00Z", "measure": {"calls": 12}}
    ingest(world.m3ter, early | {"uid": "early-usage-1"})


def _put_money(world: World) -> None:
    usage: dict[str, dict[str, Decimal]] = world.facts["usage"]
    # 10.335 + 20.335: each rounds up, the sum 30.67 does not.
    _one(world, "cust-fractions", (_API_EUR,))
    usage["cust-fractions"] = {"api_calls": Decimal(10335), "api_compute": Decimal(20335)}
    # A currency without minor units, on fractional amounts.
    _one(world, "cust-tokyo", (_API_JPY,), company="東京メーター株式会社")
    usage["cust-tokyo"] = {"api_calls": Decimal(1014), "api_compute": Decimal(20)}
    # No usage of one kind: a zero line on the bill, nothing on the invoice.
    _one(world, "cust-zero-line", (_API_USD, _STORAGE_USD))
    usage["cust-zero-line"] = {"api_calls": Decimal(4200), "api_compute": Decimal(0)}
    # The item price is in GBP, the plan it maps to in EUR.
    _one(world, "cust-pounds", ("api-pro-GBP-Monthly",))
    # Billed by m3ter each month, invoiced by Chargebee each year: there is no draft to put the charge on.
    _one(world, "cust-yearly", ("api-pro-USD-Yearly",))
    _one(world, "cust-pending-bill", (_API_EUR,))


def _put_states(world: World) -> None:
    _one(world, "cust-future", (_API_EUR,), status="future", started_at=epoch(2026, 5, 1))
    # Ends with its term: cancelled_at lies in the future.
    _one(world, "cust-leaving", (_API_EUR,), status="non_renewing")
    _one(world, "cust-gone", (_API_EUR,), status="cancelled", ends_at=epoch(2026, 2, 20))
    # Ended inside the billed month: the bill covers its first days, the final draft waits since then.
    _one(world, "cust-left-in-march", (_API_EUR,), status="cancelled", ends_at=epoch(2026, 3, 9))
    _put_draft(world, "cust-left-in-march", epoch(2026, 3, 9))
    # Shown only to those who ask for deleted rows.
    _one(world, "cust-deleted", (_API_EUR,), status="cancelled", ends_at=epoch(2026, 2, 1))
    row = world.chargebee.subscriptions.get("cust-deleted-sub") or {}
    world.chargebee.save(world.chargebee.subscriptions, row | {"deleted": True})


def _put_terms(world: World) -> None:
    # Anniversary billing: terms, and so bills, run from the tenth and the fifth.
    _one(world, "cust-tenth", (_API_EUR,), started_at=epoch(2025, 11, 10))
    _one(world, "cust-fifth", (_API_USD,), started_at=epoch(2025, 12, 5))
    # Nobody closed the draft of the term before: the new charge belongs on the next one.
    _one(world, "cust-old-draft", (_API_EUR,))
    _put_draft(world, "cust-old-draft", epoch(2026, 3, 1))


def _put_draft(world: World, customer_id: str, date: int) -> None:
    customer = world.chargebee.customers.get(customer_id) or {}
    draft = InvoiceDraft(customer, "EUR", date, [], pending=True, subscription_id=f"{customer_id}-sub")
    new_invoice(world, draft)
