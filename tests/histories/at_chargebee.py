"""What people do to a customer's subscriptions and invoices at Chargebee."""

from __future__ import annotations

from typing import Any

from meterbridge.sandbox.clock import rfc3339
from tests.histories.life import ADDONS, DAY, HEIR, PLANS, Life
from tests.histories.people import BY_HAND

CLOSED = ("posted", "payment_due", "not_paid", "paid")


# --- subscriptions


def change(life: Life) -> str | None:
    """Another quantity, or an addon comes or goes; now or at the end of the term."""
    row = life.one(life.subscriptions)
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


def undo_change(life: Life) -> str | None:
    row = life.one(life.subscriptions)
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/remove_scheduled_changes")
    return done and f"{row['id']} drops its scheduled change" if row else None


def cancel(life: Life) -> str | None:
    """Now, at the end of the term, or in between."""
    row = life.one(life.subscriptions)
    if row is None:
        return None
    option = life.dice.choice(("immediately", "end_of_term", "specific_date"))
    form: dict[str, Any] = {"cancel_option": option}
    if option == "specific_date":
        form["cancel_at"] = life.world.clock.now() + life.dice.randint(1, 20) * DAY // 2
    done = life.people.chargebee(f"subscriptions/{row['id']}/cancel_for_items", **form)
    return done and f"{row['id']} is cancelled {option}"


def undo_cancellation(life: Life) -> str | None:
    row = life.one([row for row in life.subscriptions if row["status"] == "non_renewing"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/remove_scheduled_cancellation")
    return done and f"{row['id']} stays after all" if row else None


def reactivate(life: Life) -> str | None:
    row = life.one([row for row in life.subscriptions if row["status"] == "cancelled"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/reactivate")
    return done and f"{row['id']} is reactivated" if row else None


def subscribe(life: Life) -> str | None:
    """One more subscription, now or later."""
    if len(life.subscriptions) >= 4:
        return None
    name, prices = life.new_name(), life.prices()
    form: dict[str, Any] = {"id": name, "create_pending_invoices": True}
    if life.dice.random() < 0.3:
        form["start_date"] = life.world.clock.now() + life.dice.randint(1, 20) * DAY
    for n, price in enumerate(prices):
        form |= {f"subscription_items__item_price_id__{n}": price, f"subscription_items__quantity__{n}": 1}
    done = life.people.chargebee(f"customers/{life.customer_id}/subscription_for_items", **form)
    return done and f"{name} begins with {prices}"


def try_out(life: Life) -> str | None:
    """One more subscription, with a trial before it."""
    if len(life.subscriptions) >= 4:
        return None
    name, now = life.new_name(), life.world.clock.now()
    form: dict[str, Any] = {"id": name, "create_pending_invoices": True}
    form |= {"trial_end": now + life.dice.randint(4, 20) * DAY}
    for n, price in enumerate(life.prices()):
        form |= {f"subscription_items__item_price_id__{n}": price, f"subscription_items__quantity__{n}": 1}
    done = life.people.chargebee(f"customers/{life.customer_id}/subscription_for_items", **form)
    return done and f"{name} is tried out until {rfc3339(form['trial_end'] * 1000)[:16]}"


def pause(life: Life) -> str | None:
    """Now, at the end of the term or in between; for good, or until a day."""
    row = life.one([row for row in life.subscriptions if row["status"] == "active"])
    if row is None:
        return None
    now = life.world.clock.now()
    option = life.dice.choice(("immediately", "immediately", "end_of_term", "specific_date"))
    form: dict[str, Any] = {"pause_option": option}
    if option == "specific_date":
        form["pause_date"] = now + life.dice.randint(1, 20) * DAY // 2
    if life.dice.random() < 0.5:
        begins = {"end_of_term": int(row["current_term_end"])}.get(option, form.get("pause_date", now))
        form["resume_date"] = begins + life.dice.randint(1, 30) * DAY
    done = life.people.chargebee(f"subscriptions/{row['id']}/pause", **form)
    until = rfc3339(form["resume_date"] * 1000)[:16] if "resume_date" in form else "somebody resumes it"
    return done and f"{row['id']} is paused {option} until {until}"


def resume(life: Life) -> str | None:
    """Now or some days from now."""
    row = life.one([row for row in life.subscriptions if row["status"] == "paused"])
    if row is None:
        return None
    form: dict[str, Any] = {"resume_option": life.dice.choice(("immediately", "immediately", "specific_date"))}
    if form["resume_option"] == "specific_date":
        form["resume_date"] = life.world.clock.now() + life.dice.randint(1, 9) * DAY
    done = life.people.chargebee(f"subscriptions/{row['id']}/resume", **form)
    return done and f"{row['id']} is resumed {form['resume_option']}"


def undo_pause(life: Life) -> str | None:
    """A pause, or a resumption, that is still to come is called off."""
    rows = [row for row in life.subscriptions if {"pause_date", "resume_date"} & row.keys()]
    row = life.one(rows)
    if row is None:
        return None
    what = "remove_scheduled_resumption" if row["status"] == "paused" else "remove_scheduled_pause"
    done = life.people.chargebee(f"subscriptions/{row['id']}/{what}")
    return done and f"{row['id']}: {what}"


def delete_subscription(life: Life) -> str | None:
    row = life.one([row for row in life.subscriptions if row["status"] == "cancelled"])
    done = row and life.people.chargebee(f"subscriptions/{row['id']}/delete")
    return done and f"{row['id']} is deleted" if row else None


def rename(life: Life) -> str | None:
    company = f"{life.customer_id} {life.dice.randint(1, 99)} Ltd"
    done = life.people.chargebee(f"customers/{life.customer_id}", company=company)
    return done and f"the customer is now {company}"


def find_payer(life: Life) -> str | None:
    """Somebody else pays from now on."""
    if "relationship" in (life.world.chargebee.customers.get(life.customer_id) or {}):
        return None
    life.find_payer()
    return "another customer pays from now on"


def lose_payer(life: Life) -> str | None:
    done = life.people.chargebee(f"customers/{life.customer_id}/delete_relationship")
    return done and "the customer pays for itself from now on"


def move_away(life: Life) -> str | None:
    """Another customer takes a subscription over, with what it runs up from then on."""
    row = life.one([row for row in life.subscriptions if row["customer_id"] == life.customer_id])
    if row is None:
        return None
    heir = f"{life.customer_id}{HEIR}"
    if heir not in life.world.chargebee.customers:
        life.people.chargebee("customers", id=heir, company=f"{heir} Ltd", preferred_currency_code=life.currency)
    done = life.people.chargebee(f"subscriptions/{row['id']}/move", to_customer_id=heir)
    return done and f"{row['id']} moves to {heir}"


# --- invoices


def close(life: Life) -> str | None:
    """A draft of some days is closed by hand."""
    old = [row for row in life.invoices("pending") if row["date"] < life.world.clock.now() - 2 * DAY]
    row = life.one(old)
    done = row and life.people.chargebee(f"invoices/{row['id']}/close")
    return done and f"draft {row['id']} becomes {done['invoice']['id']}" if row else None


def void(life: Life) -> str | None:
    row = life.one(life.invoices(*CLOSED))
    done = row and life.people.chargebee(f"invoices/{row['id']}/void")
    return done and f"invoice {row['id']} is voided" if row else None


def delete_invoice(life: Life) -> str | None:
    row = life.one(life.invoices("pending", *CLOSED))
    done = row and life.people.chargebee(f"invoices/{row['id']}/delete")
    return done and f"invoice {row['id']} is deleted" if row else None


def type_a_line(life: Life) -> str | None:
    row = life.one(life.invoices("pending"))
    if row is None:
        return None
    at = life.world.clock.now()
    form = {"line_item__date_from": at - 20 * DAY, "line_item__date_to": at, "amount": life.dice.randint(1, 9999)}
    done = life.people.chargebee(f"invoices/{row['id']}/add_charge", description=f"{BY_HAND} {at}", **form)
    return done and f"a person adds {form['amount']} to {row['id']}"


def take_a_line_off(life: Life) -> str | None:
    row = life.one(life.invoices("pending"))
    line = life.one(row["line_items"]) if row else None
    if row is None or line is None:
        return None
    done = life.people.chargebee(f"invoices/{row['id']}/delete_line_items", line_items__id__0=line["id"])
    return done and f"a person takes line {line['id']} ({line['amount']}) off {row['id']}"


def sweep(life: Life) -> str | None:
    """Unbilled charges of a subscription go on an invoice now, instead of the next renewal's."""
    waiting = [row for row in life.world.chargebee.unbilled_charges.rows() if not row["deleted"]]
    names = sorted({row["subscription_id"] for row in waiting if row["customer_id"] == life.customer_id})
    name = life.dice.choice(names) if names else None
    done = name and life.people.chargebee("unbilled_charges/invoice_unbilled_charges", subscription_id=name)
    return done and f"unbilled charges of {name} are invoiced" if name else None


def credit_note(life: Life) -> str | None:
    """A person credits a part of a closed invoice, as a whole or by one of its lines."""
    row = life.one(life.invoices(*CLOSED))
    if row is None or not row["line_items"]:
        return None
    kind = "adjustment" if row["amount_due"] else "refundable"
    most = row["amount_due"] or row["amount_paid"]
    line = life.dice.choice(row["line_items"])
    amount = life.dice.randint(1, max(1, min(most, line["amount"])))
    form: dict[str, Any] = {"reference_invoice_id": row["id"], "type": kind, "customer_notes": BY_HAND}
    if life.dice.random() < 0.5:
        form |= {"line_items__reference_line_item_id__0": line["id"], "line_items__amount__0": amount}
    else:
        form["total"] = amount
    done = life.people.chargebee("credit_notes", **form)
    return done and f"a person credits {amount} of invoice {row['id']}, {kind}"
