"""A month that was used, billed and charged, and what may happen to its bill and invoices afterwards."""

import json
from decimal import Decimal

from sqlalchemy import select

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import mappings, schema
from meterbridge.ledger.note import FILE_NAME as NOTE
from meterbridge.sandbox.chargebee.invoice_rows import close_draft, with_totals
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.services import open_ledger

OURS = ("charge_item_price", "adhoc")


def use_a_month(world):
    """Subscriptions are synchronised, a month passes, its usage is billed."""
    sync_subscriptions.fn()
    use_and_bill(world)


def charge_it(_world):
    """The bill is charged."""
    sync_bills.fn()


class BilledMonth:
    """The sandbox's scenario ``single`` on the twelfth of April: one bill of two lines on one draft."""

    def __init__(self, open_sandbox, scenario="single", *, charge=True, before=(), **more):
        """``before``: steps taken before anything else, as ``OpenSandbox.after`` takes them."""
        steps = (*before, use_a_month, charge_it) if charge else (*before, use_a_month)
        self.sandbox = open_sandbox.after(*steps, scenario=scenario, **more)
        self.world = self.sandbox.world

    def charge(self, **how):
        return sync_bills.fn(**how)

    def stop_before_a_line(self):
        """As if the run had been stopped before its first ad hoc line, and the ledger lost later; returns that line."""
        gone = next(line for line in self.draft["line_items"] if line["entity_type"] == "adhoc")
        self.save_invoice(self.draft | {"line_items": [one for one in self.draft["line_items"] if one != gone]})
        table = self.world.m3ter.mappings
        [mapped] = [row for row in table.rows() if row["externalId"] == gone["id"]]
        table.remove(mapped["id"], self.world.clock.now_ms())
        self.world.advance(1860)  # Chargebee has forgotten the key
        lose_ledger()
        return gone

    # --- m3ter

    @property
    def bills(self):
        return sorted(self.world.m3ter.bills.rows(), key=lambda bill: bill["endDate"])

    @property
    def bill(self):
        return self.bills[0]

    def total(self, bill=None):
        """What a bill wants, in minor units (two decimals)."""
        exact = sum(Decimal(str(line["convertedSubtotal"])) for line in (bill or self.bill)["lineItems"])
        return int((exact * 100).quantize(Decimal(1), "ROUND_HALF_UP"))

    def recalculate(self, *amounts, status="APPROVED", keep_ids=False, bill=None):
        """New amounts for the bill's lines in their order; lines beyond are dropped. Ids are new unless kept."""
        state = self.world.m3ter
        with self.world.lock:
            before = bill or self.bill
            lines = [
                line
                | {"convertedSubtotal": Decimal(amount), "subtotal": Decimal(amount)}
                | ({} if keep_ids else {"id": state.ids.uuid("again", line["id"])})
                for line, amount in zip(before["lineItems"], amounts, strict=False)
            ]
            total = sum((line["convertedSubtotal"] for line in lines), Decimal(0))
            now = rfc3339(self.world.clock.now_ms())
            row = before | {"lineItems": lines, "billTotal": total, "status": status, "lastCalculatedDate": now}
            return state.save(state.bills, row, before)

    def turn(self, status):
        """APPROVED or PENDING, nothing else changes."""
        with self.world.lock:
            self.world.m3ter.save(self.world.m3ter.bills, self.bill | {"status": status}, self.bill)

    def lock(self):
        """The bill can change no more."""
        with self.world.lock:
            self.world.m3ter.save(self.world.m3ter.bills, self.bill | {"locked": True}, self.bill)

    def delete_bill(self):
        with self.world.lock:
            self.world.m3ter.bills.remove(self.bill["id"], self.world.clock.now_ms())

    def mapped(self, entity):
        """(m3ter id, external id) of m3ter's mappings of an entity."""
        rows = self.world.m3ter.mappings.rows()
        return sorted((row["m3terId"], row["externalId"]) for row in rows if row["m3terEntity"] == entity)

    # --- Chargebee

    @property
    def invoices(self):
        return [row for row in self.world.chargebee.invoices.rows() if not row["deleted"]]

    @property
    def draft(self):
        """The newest pending invoice."""
        return max((row for row in self.invoices if row["status"] == "pending"), key=lambda row: row["date"])

    def ours(self, invoice=None):
        """Our lines' amounts on an invoice, or on all that are not voided."""
        chosen = [invoice] if invoice else [row for row in self.invoices if row["status"] != "voided"]
        return sorted(line["amount"] for row in chosen for line in row["line_items"] if line["entity_type"] in OURS)

    def close(self, invoice=None):
        with self.world.lock:
            return close_draft(self.world, invoice or self.draft)

    def save_invoice(self, row, **changes):
        with self.world.lock:
            return self.world.chargebee.save(self.world.chargebee.invoices, with_totals(row) | changes)

    def void(self, row):
        return self.save_invoice(row, status="voided", voided_at=self.world.clock.now())

    def pass_days(self, days):
        self.world.advance(days * 86_400)

    def writes(self):
        """Writes that reached Chargebee since the log was cleared."""
        return [e for e in self.world.log if e.vendor == "chargebee" and e.method == "POST"]

    # --- the ledger

    def open_intents(self):
        """(kind, state) of what the ledger has not closed."""
        ledger = open_ledger(load_settings())
        with ledger.read() as rx:
            rows = rx.execute(select(schema.intents.c.kind, schema.intents.c.state)).all()
        ledger.close()
        return [tuple(row) for row in rows if row.state in ("proposed", "ready", "sending", "unknown")]

    def charges(self):
        """The ledger's charges: (invoice, line, amount)."""
        ledger = open_ledger(load_settings())
        with ledger.read() as rx:
            rows = list(mappings.all(rx, "charge", active_only=True))
        ledger.close()
        return sorted((row.state["invoice_id"], row.remote_id, row.state["amount"]) for row in rows)


def lose_ledger():
    """The ledger is gone, and the note beside it: as after the loss of the whole home."""
    home = load_settings().home
    for file in [*home.glob("**/ledger.sqlite3*"), *home.glob(f"**/{NOTE}")]:
        file.unlink()


def asides(report):
    """Code and amount of each portion that was set aside."""
    return sorted((row["code"], row.get("amount")) for row in report.quarantined if row["kind"] == "charge")


def shown(report):
    return json.dumps(report.model_dump(mode="json"), indent=1)


def read_one_by_one(month):
    """Paths of bills that runs read by their ids since the log was cleared."""
    return [e.path for e in month.world.log if e.vendor == "m3ter" and e.method == "GET" and "/bills/" in e.path]
