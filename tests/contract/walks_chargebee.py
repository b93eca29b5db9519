"""Every endpoint of the imitated Chargebee walked once over HTTP; what crossed is judged elsewhere."""

from __future__ import annotations

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.chargebee_seed import put_item, put_price
from tests.contract.walks import Row, chargebee_client, taken

LISTS = {
    "customers": "customer",
    "item_families": "item_family",
    "items": "item",
    "item_prices": "item_price",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "events": "event",
    "comments": "comment",
    "webhook_endpoints": "webhook_endpoint",
}
CHARGE = {"charges[amount][0]": "700", "charges[description][0]": "late"}
PRO = "api-pro-EUR-Monthly"


def walk_chargebee(sandbox: Sandbox) -> None:
    with chargebee_client(sandbox) as http:
        _customers(http)
        _subscription(http)
        _drafts(http)
        _money_beside(http)
        _usages(sandbox, http)
        _comments_and_webhooks(http)
        for path, name in LISTS.items():
            for row in _every(http, path, name):
                if not row.get("deleted") and path not in ("events", "invoices", "subscriptions"):
                    taken(http.get(f"{path}/{row['id']}"))
        for path in ("subscriptions", "invoices", "events"):
            taken(http.get(f"{path}/{_every(http, path, LISTS[path])[0]['id']}"))
        for path in ("configurations", "unbilled_charges", "credit_notes", "promotional_credits", "usages"):
            taken(http.get(path))


def walk_time_machine(sandbox: Sandbox) -> None:
    """The last of all walks: it erases what the others made."""
    machine = "time_machines/delorean"
    with chargebee_client(sandbox) as http:
        taken(http.get(machine))
        taken(http.post(f"{machine}/start_afresh", data={"genesis_time": "1760000000"}))
        taken(http.post(f"{machine}/travel_forward", data={"destination_time": "1770000000"}))


def _every(http: httpx.Client, path: str, name: str) -> list[Row]:
    found: list[Row] = []
    params = {"limit": "100"}
    while True:
        page = taken(http.get(path, params=params))
        found += [entry[name] for entry in page["list"]]
        if "next_offset" not in page:
            return found
        params = {"limit": "100", "offset": page["next_offset"]}


def _customers(http: httpx.Client) -> None:
    taken(http.post("customers", data={"id": "walk", "company": "Walk", "billing_address[city]": "Bern"}))
    taken(http.post("customers/walk", data={"email": "walk@invalid.example"}))
    taken(http.post("customers", data={"id": "walk-gone"}))
    taken(http.post("customers/walk-gone/delete"))
    taken(http.post("customers", data={"id": "walk-heir", "preferred_currency_code": "EUR"}))
    taken(http.post("customers", data={"id": "walk-twin"}))
    taken(http.post("customers/walk-twin/relationships", data={"invoice_owner_id": "walk-heir"}))
    taken(http.post("customers/walk-twin/delete_relationship"))
    taken(http.post("customers/merge", data={"from_customer_id": "walk-twin", "to_customer_id": "walk-heir"}))


def _usages(sandbox: Sandbox, http: httpx.Client) -> None:
    with sandbox.world.lock:
        put_item(sandbox.world, "walked", "addon", "Walked", calculation="sum_of_usages")
        put_price(sandbox.world, "walked-EUR", "walked", "EUR", 5, unit="month")
    items = {"subscription_items[item_price_id][0]": PRO, "subscription_items[item_price_id][1]": "walked-EUR"}
    taken(http.post("customers/walk/subscription_for_items", data=items | {"id": "walk-metered"}))
    path = "subscriptions/walk-metered"
    used = {"item_price_id": "walked-EUR", "quantity": "5", "usage_date": str(sandbox.world.clock.now())}
    taken(http.post(f"{path}/usages", data=used | {"id": "walk-usage", "note": "walked"}))
    taken(http.get(f"{path}/usages", params={"id": "walk-usage"}))
    taken(http.post(f"{path}/cancel_for_items"))
    of_ours = {"subscription_id[is]": "walk-metered", "status[is]": "pending"}
    drafts = taken(http.get("invoices", params=of_ours))["list"]
    taken(http.post(f"invoices/{drafts[0]['invoice']['id']}/sync_usages"))
    more = {**used, "usage_date": str(sandbox.world.clock.now() - 60), "id": "walk-late"}
    taken(http.post(f"{path}/usages", data=more))
    taken(http.post(f"{path}/delete_usage", data={"id": "walk-late"}))


def _subscription(http: httpx.Client) -> None:
    item = {"subscription_items[item_price_id][0]": PRO}
    taken(http.post("customers/walk/subscription_for_items", data=item | {"id": "walk-sub"}))
    path = "subscriptions/walk-sub"
    more = {"subscription_items[item_price_id][0]": "storage-EUR-Monthly"}
    taken(http.post(f"{path}/update_for_items", data=more | {"change_option": "end_of_term"}))
    taken(http.get(f"{path}/retrieve_with_scheduled_changes"))
    taken(http.post(f"{path}/remove_scheduled_changes"))
    taken(http.post(f"{path}/update_for_items", data=more))
    taken(http.post(f"{path}/cancel_for_items", data={"cancel_option": "end_of_term"}))
    taken(http.post(f"{path}/remove_scheduled_cancellation"))
    taken(http.post(f"{path}/cancel_for_items"))
    taken(http.post(f"{path}/reactivate"))
    taken(http.post(f"{path}/pause", data={"pause_option": "end_of_term"}))
    taken(http.post(f"{path}/remove_scheduled_pause"))
    taken(http.post(f"{path}/pause"))
    taken(http.post(f"{path}/resume", data={"resume_option": "specific_date", "resume_date": "4102444800"}))
    taken(http.post(f"{path}/remove_scheduled_resumption"))
    taken(http.post(f"{path}/resume"))
    taken(http.post(f"{path}/change_term_end", data={"term_ends_at": "1780000000"}))
    taken(http.get("customers/walk/subscriptions"))
    taken(http.post(f"{path}/move", data={"to_customer_id": "walk-heir"}))
    taken(http.post("customers/walk/subscription_for_items", data=item | {"id": "walk-sub-2"}))
    taken(http.post("subscriptions/walk-sub-2/delete"))


def _drafts(http: httpx.Client) -> None:
    drafts = [_draft(http) for _ in range(3)]
    line = {"line_item[date_from]": "1772323200", "line_item[date_to]": "1775001599"}
    charged = taken(http.post(f"{drafts[0]}/add_charge", data={"amount": "5", "description": "API"} | line))
    price = {"item_price[item_price_id]": "api-usage-EUR", "item_price[unit_price]": "5"}
    taken(http.post(f"{drafts[0]}/add_charge_item", data=price))
    line_id = charged["invoice"]["line_items"][-1]["id"]
    taken(http.post(f"{drafts[0]}/delete_line_items", data={"line_items[id][0]": line_id}))
    final = taken(http.post(f"{drafts[0]}/close"))["invoice"]
    note = {"reference_invoice_id": final["id"], "type": "adjustment", "reason_code": "other", "total": "1"}
    taken(http.post("credit_notes", data=note))
    final = taken(http.post(f"{drafts[1]}/close"))["invoice"]
    taken(http.post(f"invoices/{final['id']}/void"))
    taken(http.post(f"{drafts[2]}/delete"))


def _draft(http: httpx.Client) -> str:
    wanted = CHARGE | {"subscription_id": "cust-larkspur-sub", "create_pending_invoice": "true"}
    made = taken(http.post("invoices/create_for_charge_items_and_charges", data=wanted))
    return f"invoices/{made['invoice']['id']}"


def _money_beside(http: httpx.Client) -> None:
    charge = CHARGE | {"subscription_id": "cust-larkspur-sub"}
    made = [taken(http.post("unbilled_charges", data=charge))["unbilled_charges"][0] for _ in range(3)]
    taken(http.post(f"unbilled_charges/{made[0]['id']}/delete"))
    owner = {"subscription_id": "cust-larkspur-sub"}
    taken(http.post("unbilled_charges/invoice_unbilled_charges", data=owner))
    taken(http.post("unbilled_charges", data=charge))
    credit = {"customer_id": "cust-larkspur", "amount": "250", "description": "netted", "currency_code": "EUR"}
    taken(http.post("promotional_credits/add", data=credit))


def _comments_and_webhooks(http: httpx.Client) -> None:
    about = {"entity_type": "customer", "entity_id": "walk-heir"}
    made = [taken(http.post("comments", data=about | {"notes": f"note {n}"}))["comment"] for n in range(2)]
    taken(http.post(f"comments/{made[0]['id']}/delete"))
    for name in ("kept", "gone"):
        there = {"name": name, "url": "http://127.0.0.1:9/", "enabled_events[0]": "plan_created"}
        endpoint = taken(http.post("webhook_endpoints", data=there))["webhook_endpoint"]
        taken(http.post(f"webhook_endpoints/{endpoint['id']}", data={"disabled": "true"}))
    taken(http.post(f"webhook_endpoints/{endpoint['id']}/delete"))
