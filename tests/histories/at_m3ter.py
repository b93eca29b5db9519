"""What happens to a customer at m3ter: usage, bills, and what people do to them."""

from __future__ import annotations

from decimal import Decimal

from meterbridge.sandbox.clock import rfc3339
from tests.histories.life import DAY, Life

METERS = {
    "api": ("api_calls", "calls", 60_000),
    "compute": ("api_compute", "seconds", 90_000),
    "storage": ("storage_gb", "gb", 900),
    "messages": ("messages_sent", "messages", 4_000),
}


def use(life: Life) -> str | None:
    """Usage of the last days, or late usage of weeks ago."""
    account = life.one(life.accounts)
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
    account = life.one(life.accounts)
    if account is None:
        return None
    life.people.m3ter("POST", "billjobs", {"accountIds": [account["id"]]})
    life.world.advance(1)
    return f"bills of {account['code']} are calculated: {_shown(life)}"


def recalculate(life: Life) -> str | None:
    row = life.one(life.bills[-4:])
    done = row and life.people.m3ter("POST", "billjobs/recalculate", {"billIds": [row["id"]]})
    life.world.advance(1)
    return done and f"bill {row['id']} is recalculated: {_shown(life)}" if row else None


def approve(life: Life) -> str | None:
    """All that are pending."""
    ids = [row["id"] for row in life.bills if row["status"] == "PENDING" and not row["locked"]]
    done = life.people.m3ter("POST", "bills/approve", {"billIds": ids}) if ids else None
    return done and f"approved: {', '.join(ids)}"


def unapprove(life: Life) -> str | None:
    row = life.one([row for row in life.bills if row["status"] == "APPROVED"])
    done = row and life.people.m3ter("PUT", f"bills/{row['id']}/status", {"status": "PENDING"})
    return done and f"bill {row['id']} is pending again" if row else None


def lock(life: Life) -> str | None:
    row = life.one([row for row in life.bills if row["status"] == "APPROVED" and not row["locked"]])
    done = row and life.people.m3ter("PUT", f"bills/{row['id']}/lock")
    return done and f"bill {row['id']} is locked" if row else None


def delete_bill(life: Life) -> str | None:
    row = life.one(life.bills)
    done = row and life.people.m3ter("DELETE", f"bills/{row['id']}")
    return done and f"bill {row['id']} is deleted" if row else None


def memo(life: Life) -> str | None:
    """A credit or a debit of a person in m3ter, on a bill that is not locked."""
    row = life.one([row for row in life.bills if row["lineItems"]])
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
