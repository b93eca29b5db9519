"""A pair that lived before the bridge: accounts under codes of their own, plans attached by hand, nothing mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.account_plans import ACCOUNT_PLAN
from meterbridge.sandbox.m3ter.accounts import ACCOUNT, auto_created
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

_JANUARY = epoch(2026, 1, 1)
_API = "api-pro-EUR-Monthly"


def put_living(world: World) -> None:
    # The same address on both sides, another spelling of the name; somebody attached the plan by hand last year.
    _customer(world, "globex", "Globex Ltd", email="ap@globex.example")
    account = put_account(world, "G-100", "GLOBEX International", "AP@globex.example", currency="EUR")
    put_plan(world, account, "api-pro-eur", "2025-11-01T00:00:00Z")
    # The same name, once composed and once not; another address.
    _customer(world, "staedte", "Ünïcode Städte GmbH", email="buchhaltung@staedte.example")
    put_account(world, "G-200", "U\u0308NI\u0308CODE  STA\u0308DTE GMBH", "office@staedte.example")
    # One mailbox of two customers: whose account is it?
    _customer(world, "initech-north", "Initech North", email="ap@initech.example")
    _customer(world, "initech-south", "Initech South", email="ap@initech.example")
    put_account(world, "G-300", "Initech", "ap@initech.example")
    # Two accounts of one customer.
    _customer(world, "umbrella", "Umbrella Corp", email="ap@umbrella.example")
    put_account(world, "G-401", "Umbrella Corp", "eu@umbrella.example")
    put_account(world, "G-402", "umbrella corp", "us@umbrella.example")
    # An account with child accounts: they are part of it.
    _customer(world, "hooli", "Hooli", email="ap@hooli.example")
    parent = put_account(world, "G-500", "Hooli", "ap@hooli.example")
    for child in ("eu", "us"):
        put_account(world, f"G-500/{child}", f"Hooli {child}", "ap@hooli.example", parentAccountId=parent["id"])
    # Nothing alike: a field of the customer holds the account's code.
    _customer(world, "wayne", "Wayne Enterprises", email="w@wayne.example", cf_m3ter_account="G-600")
    put_account(world, "G-600", "Gotham holding", "finance@gotham.example")
    # Usage made an account for a code that nobody had; this customer really is new; and one has its id as code.
    auto_created(world.m3ter, "G-700")
    _customer(world, "stark", "Stark", email="ap@stark.example")
    _customer(world, "cyberdyne", "Cyberdyne", email="ap@cyberdyne.example")
    put_account(world, "cyberdyne", "Cyberdyne", "ap@cyberdyne.example")


def _customer(world: World, customer_id: str, company: str, **more: Any) -> None:
    put_customer(world, customer_id, company, "EUR", **more)
    put_subscription(world, SubscriptionSeed(f"{customer_id}-sub", customer_id, (_API,), _JANUARY))


def put_account(world: World, code: str, name: str, email: str, **more: Any) -> Row:
    """An account as the console makes one."""
    row = {"code": code, "name": name, "emailAddress": email} | more
    account = entities.insert(world.m3ter, ACCOUNT, row)
    world.m3ter.account_ids_by_folded_code[code.casefold()] = account["id"]
    return account


def put_plan(world: World, account: Row, plan_code: str, start: str, **more: Any) -> Row:
    """An account plan as the console attaches one: no code of ours, no mapping."""
    (plan,) = world.m3ter.plans.find("code", plan_code)
    row = {"accountId": account["id"], "planId": plan["id"], "productId": plan["productId"], "startDate": start}
    return entities.insert(world.m3ter, ACCOUNT_PLAN, row | {"childBillingMode": "PARENT_BREAKDOWN"} | more)
