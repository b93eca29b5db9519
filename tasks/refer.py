"""Copy what a run needs to know beyond the vendors' pages, catalog map and ledger slice, into ``ref_*``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meterbridge.catalog import load_catalog
from meterbridge.ledger import bill_accounts, bills, intents, mappings, quarantine, releases
from meterbridge.ledger.ledger import Reader, moment
from meterbridge.rules.keys import canonical, key_text
from meterbridge.rules.recall import carried_key, mark_of
from meterbridge.rules.records import Key
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract_hinted import versions
from tasks.runs import Run
from tasks.services import services

TABLES = ("ref_catalog_plans", "ref_accounts", "ref_account_plans", "ref_external_mappings")
SLICE_AT = "slice_at"
"""When the ledger was read for the run, by its own clock."""

DOUBT = "ledger_doubt"
"""Why the ledger may not know all that stands; no such fact where it does."""

HORIZON = "slice_horizon"
"""What of the intents the run saw then: ``[highest id, [open ids]]``."""

BILL_TABLES = (
    *(
        "ref_charges",
        "ref_credit_notes",
        "ref_undone",
        "ref_settled",
        "ref_portions",
        "ref_bill_states",
        "ref_unproven",
    ),
    "ref_releases",
)


NAMED = (
    "select entry.customer.id as customer, entry.customer.relationship.invoice_owner_id as owner, "
    "null as holder, null as subscription from raw_chargebee__customers union all "
    "select entry.customer.id, entry.customer.relationship.invoice_owner_id, "
    "entry.subscription.customer_id, entry.subscription.id from raw_chargebee__subscriptions"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows: of everybody, or of these customers and subscriptions alone."""

    rx: Reader
    named: tuple[frozenset[str], frozenset[str]] | None = None

    def mappings(self, kind: str) -> Iterable[mappings.Mapping]:
        """Active mappings of a kind."""
        if self.named is None:
            return mappings.all(self.rx, kind, active_only=True)
        customers, subscriptions = self.named
        return mappings.of_customers(self.rx, kind, customers, subscriptions if kind == "account_plan" else ())


@task(name="copy the ledger's slice")
def refer(run: Run, *, bills_too: bool = False, own_slice: bool = False) -> int:
    """Catalog map, known accounts, account plans and mappings; for bills also charges and bill states.

    ``own_slice``: in a run of named subscriptions their customers' rows alone. The ledger of a large site takes
    seconds to copy, and a webhook should not wait for it.
    """
    work = services(run.run_id)
    catalog = load_catalog(work.settings.catalog_path)
    with opened(run.path) as file, work.ledger.read() as rx:
        note_slice(rx, file)
        file.land_rows("run_facts", [{"name": DOUBT, "value": run.doubt}] if run.doubt else [])
        file.clear(*TABLES, *BILL_TABLES)
        known = Known(rx, _named(file) if own_slice and run.request.ids else None)
        copied = file.land_rows("ref_catalog_plans", (row.model_dump() for row in catalog.plans))
        copied += file.land_rows("ref_accounts", _accounts(known))
        as_told = _overtaken(rx, file)
        for key, (due, version) in quarantine.due(rx).items():
            end = datetime.fromtimestamp(due, UTC).isoformat()
            as_told[key] = {**as_told.get(key, {}), "due": end, "due_by": version}
        copied += file.land_rows("ref_account_plans", _account_plans(known, as_told))
        copied += file.land_rows("ref_external_mappings", _external_mappings(known))
        if bills_too:
            copied += file.land_rows("ref_charges", _charges(rx))
            given = list(mappings.all(rx, "credit", active_only=True))
            copied += file.land_rows("ref_charges", _credits(given))
            copied += file.land_rows("ref_credit_notes", _credit_notes(rx, given))
            copied += file.land_rows("ref_undone", _undone(rx))
            copied += file.land_rows("ref_settled", _settled(rx))
            copied += file.land_rows("ref_portions", _portions(rx))
            copied += file.land_rows("ref_bill_states", _bill_states(rx))
            copied += file.land_rows("ref_unproven", _unproven(rx))
            copied += file.land_rows("ref_releases", _releases(rx))
        return copied


def note_slice(rx: Reader, file: Staging) -> None:
    """Note when the ledger is read, before the first row is: what changes from here on may not be in what is read."""
    file.land_rows("run_facts", [{"name": SLICE_AT, "value": str(moment(rx))}])
    seen = intents.horizon(rx)
    file.land_rows("run_facts", [{"name": HORIZON, "value": canonical([seen.last, sorted(seen.open)])}])


def _named(file: Staging) -> tuple[frozenset[str], frozenset[str]]:
    """Customers that the landed records belong to, own invoices of or are, and subscriptions."""
    customers: set[str | None] = set()
    subscriptions: set[str | None] = set()
    for row in file.rows(NAMED):
        customers |= {row["customer"], row["owner"], row["holder"]}
        subscriptions.add(row["subscription"])
    return frozenset(filter(None, customers)), frozenset(filter(None, subscriptions))


def _accounts(known: Known) -> Iterator[dict[str, Any]]:
    for row in known.mappings("account"):
        yield {
            "customer_id": row.key[0],
            "account_id": row.remote_id,
            "fingerprint": row.fingerprint,
            "currency": row.state.get("currency"),
            "parent": row.state.get("parent"),
            "code": row.state.get("code"),
            "owner_id": row.state.get("customer_id") or row.key[0],
        }


def _overtaken(rx: Reader, file: Staging) -> dict[Key, dict[str, Any]]:
    """Account plans as writes without an outcome leave them, where the subscription has changed again since.

    What comes next is decided from there: such a write is found out about, and sent if need be, before anything
    else of its account. Without it an item that ended and began again would look as if it had never ended.
    """
    rows = [row for row in intents.may_have_written(rx, ("account_plan",), None) if row.action == "update"]
    present = versions(file, "subscription", "subscriptions") if rows else {}
    return {
        row.key: {name: row.wanted[name] for name in ("start", "end", "paused") if name in row.wanted}
        for row in rows
        if present.get(row.key[0], 0) > (row.source_version or 0)
    }


def _account_plans(known: Known, overtaken: Mapping[Key, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in known.mappings("account_plan"):
        yield {
            **row.state,
            **overtaken.get(row.key, {}),
            "items": list(row.state.get("items", ())),
            "account_plan_id": row.remote_id,
            "source_version": row.source_version,
            "active": row.active,
        }


def _external_mappings(known: Known) -> Iterator[dict[str, Any]]:
    for row in known.mappings("external_mapping"):
        points_at = row.state.get("points_at")
        yield {"entity": row.key[0], "customer_id": row.scope, "key": key_text(row.key), "points_at": points_at}


COPIED = (
    *("bill_id", "subscription_id", "invoice_id", "amount", "currency", "reference", "entity_type", "entity_id"),
    *(
        "date_from",
        "date_to",
        "customer_id",
        "invoice_status",
        "invoice_date",
        "gone_since",
        "adopted",
        "bill_line_ids",
    ),
)
"""What a charge's row takes from the ledger as it is."""


def _charges(rx: Reader) -> Iterator[dict[str, Any]]:
    """Our lines, and beside each what it carries of other bills: counted for its own bill, against theirs.

    ``carried`` is the mark that m3ter keeps of the lowering, empty where it counts against the other bill.
    """
    for row in mappings.all(rx, "charge", active_only=True):
        carried = row.state.get("carried", ())
        line = {
            **{name: row.state.get(name) for name in COPIED},
            "key": key_text(row.key),
            "line_id": row.remote_id,
            "fingerprint": row.fingerprint,
        }
        yield {**line, "movable": not carried}
        for number, part in enumerate(carried):
            here: dict[str, Any] = {**line, "movable": False, "adopted": None, "bill_line_ids": []}
            key = carried_key(row.key, number)
            yield {**here, "key": key_text(key), "amount": part["amount"], "carried": mark_of(row.key, part)}
            if not part.get("alone"):
                other = (part["bill_id"], part["subscription_id"])
                theirs = {"bill_id": other[0], "subscription_id": other[1], "amount": -part["amount"]}
                yield {**here, **theirs, "key": key_text((*other, key[2])), "carried": ""}


def _credits(given: Iterable[mappings.Mapping]) -> Iterator[dict[str, Any]]:
    """Our own credits: lines with a negative amount, on no invoice that they could be taken off."""
    for row in given:
        copied = {name: row.state[name] for name in ("bill_id", "subscription_id", "amount", "currency", "reference")}
        yield {**copied, "key": key_text(row.key), "invoice_id": "", "line_id": "", "movable": False}


def _credit_notes(rx: Reader, given: Iterable[mappings.Mapping]) -> Iterator[dict[str, Any]]:
    """Credit notes that we gave, and those under way, which have no id yet."""
    for one in given:
        yield {"credit_id": one.remote_id}
    for row in intents.open_rows(rx, ("credit",)):
        if row.state in ("sending", "unknown") and row.wanted.get("invoice_id"):
            yield {"invoice_id": row.wanted["invoice_id"], "amount": -(row.amount or 0)}


def _undone(rx: Reader) -> Iterator[dict[str, Any]]:
    """Portions whose lines a person took off, until somebody lets them go; each line with its charge's identity."""
    for row in mappings.all(rx, "undone", active_only=True):
        charges = {line: mappings.by_remote(rx, "charge", line) for line in row.state["lines"]}
        lines = {line: "" if charge is None else charge.key[2] for line, charge in charges.items()}
        yield {"bill_id": row.key[0], "subscription_id": row.key[1], "lines": canonical(lines)}


def _settled(rx: Reader) -> Iterator[dict[str, Any]]:
    """What people settled, by portion: what its row says now, and what was kept when the row moved on."""
    amounts: Counter[tuple[str, str]] = Counter()
    for portion in bills.portions(rx):
        if portion.state == "settled":
            amounts[portion.bill_id, portion.subscription_id] += portion.wanted
    for row in mappings.all(rx, "settled", active_only=True):
        amounts[row.key[0], row.key[1]] += row.state["amount"]
    for (bill_id, subscription_id), amount in sorted(amounts.items()):
        if amount:
            yield {"bill_id": bill_id, "subscription_id": subscription_id, "amount": amount}


def _portions(rx: Reader) -> Iterator[dict[str, Any]]:
    for row in bills.portions(rx):
        since = None if row.since is None else datetime.fromtimestamp(row.since, UTC).isoformat()
        yield {"bill_id": row.bill_id, "subscription_id": row.subscription_id, "state": row.state, "since": since}


def _unproven(rx: Reader) -> Iterator[dict[str, Any]]:
    """Portions for which a write was begun whose outcome nobody knows."""
    for row in intents.open_rows(rx, ("charge", "charge_set")):
        if row.state in ("sending", "unknown"):
            yield {
                "kind": row.kind,
                "bill_id": row.key[0],
                "subscription_id": row.key[1],
                "key": key_text(row.key),
                "amount": (row.amount or 0) + bill_accounts.carried_by(row.wanted),
                "currency": row.currency,
                "payer": row.wanted.get("customer_id"),
            }


def _releases(rx: Reader) -> Iterator[dict[str, Any]]:
    """What people allowed beyond the totals of bills."""
    for bill_id, currency, amount in releases.sums(rx):
        yield {"bill_id": bill_id, "currency": currency, "amount": amount}


def _bill_states(rx: Reader) -> Iterator[dict[str, Any]]:
    for state in bills.all(rx):
        yield {
            "bill_id": state.bill_id,
            "version": state.version,
            "last_calculated": state.last_calculated,
            "status": state.status,
            "locked": state.locked,
            "finished": state.finished,
        }
