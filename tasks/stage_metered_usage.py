"""Usage for Chargebee before anything is sent: what it would bill is read there, and every row held against it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.chargebee.encoding import id_filters
from meterbridge.errors import SetupError
from meterbridge.ledger import mappings
from meterbridge.rules.metered_usage import CALCULATIONS, MeteredSubscription, spans
from meterbridge.staging.metered_file import MeteredFile, metered_opened
from meterbridge.staging.moments import instant
from tasks.engine import task
from tasks.runs import Run
from tasks.services import Services, services
from tasks.stage_usage import Preflight, judgement, refuse_if_fewer, refuse_if_strict
from tasks.usage_input import UsageInput, UsageRequest, metered_shape_of

logger = logging.getLogger(__name__)

Row = dict[str, Any]
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@task(name="land and judge metered usage")
def stage_metered_usage(run: Run, given: UsageInput, request: UsageRequest) -> Preflight:
    """Pre-flight over the whole input, then its rows gathered into the records that Chargebee is to hold.

    Raises:
        SetupError: MB-USAGE-INPUT, fewer rows came than expected, or some are rejected and ``strict`` was asked for.
    """
    work = services(run.run_id)
    metered = given.mapping.chargebee
    if metered is None:
        raise SetupError("MB-USAGE-MAPPING", f"{given.mapping.name} does not say what --to chargebee shall send")
    try:
        with metered_opened(run.path) as file:
            landed = file.land(metered_shape_of(given, metered, work.clock.epoch()))
            refuse_if_fewer(landed, request)
            file.reject_inexact()
            _refer(work, given, file)
            file.reject_absent()
            file.judge()
            file.gather(metered.period)
            preflight = judgement(run, file, landed)
    finally:
        given.forget()
    refuse_if_strict(preflight, request)
    return preflight


def _refer(work: Services, given: UsageInput, file: MeteredFile) -> None:
    """Copy in what the judgement needs: subscriptions and item prices from Chargebee, our records from the ledger."""
    pairs = file.pairs()
    wanted = sorted({subscription for subscription, _ in pairs})
    found = {str(row["id"]): row for row in _named(work, "subscriptions", "subscription", wanted)}
    drafts = _drafts(work, {str(row["customer_id"]) for row in found.values()})
    file.refer("ref_usage_accounts", _subscription_troubles(work, wanted, found))
    cuts = [_cuts(_metered(row, drafts[str(row["customer_id"])])) for row in found.values()]
    file.refer("ref_usage_spans", [cut for some in cuts for cut in some])
    prices = sorted({price for _, price in pairs})
    calculations, troubles = _item_prices(work, prices)
    file.refer("ref_usage_items", sorted(calculations.items()))
    file.refer("ref_usage_meters", troubles)
    known = _records(work, given, set(found))
    held = {(str(row["id"]), str(item["item_price_id"])) for row in found.values() for item in _items(row)}
    held |= {(row[0], row[1]) for row in known}
    held |= {pair for some in drafts.values() for draft in some for pair in _billed(draft)}
    file.refer("ref_usage_held", sorted(held))
    file.refer("ref_usage_records", known)
    file.refer("ref_usage_closed", [])


def _named(work: Services, resource: str, name: str, ids: Sequence[str], by: str = "id") -> Iterator[Row]:
    for some in id_filters(by, ids):
        for entry in work.chargebee.rows(resource, some):
            yield entry[name]


def _drafts(work: Services, customers: set[str]) -> dict[str, list[Row]]:
    """Pending recurring invoices by customer, those of invoice owners not among them: they gather no usage of ours."""
    found: dict[str, list[Row]] = defaultdict(list)
    if customers:
        for entry in work.chargebee.rows("invoices", {"status[is]": "pending"}, sort_by="date"):
            invoice = entry["invoice"]
            if invoice.get("recurring"):
                for customer in {str(invoice["customer_id"]), *(str(x.get("customer_id")) for x in _lines(invoice))}:
                    found[customer].append(invoice)
    return found


def _subscription_troubles(work: Services, wanted: Sequence[str], found: dict[str, Row]) -> Iterator[Sequence[str]]:
    settings = work.settings
    for subscription in wanted:
        row = found.get(subscription)
        if row is None or row.get("deleted"):
            yield subscription, "subscription_unknown", subscription
            continue
        customer = str(row["customer_id"])
        if (settings.accounts_only and customer not in settings.accounts_only) or customer in settings.accounts_except:
            yield subscription, "subscription_excluded", subscription


def _metered(row: Row, drafts: Sequence[Row]) -> MeteredSubscription:
    ours = [draft for draft in drafts if _is_for(draft, str(row["id"]))]
    return MeteredSubscription(
        id=str(row["id"]),
        status=str(row["status"]),
        activated_at=instant(row.get("activated_at")),
        term_start=instant(row.get("current_term_start")),
        cancelled_at=instant(row.get("cancelled_at")),
        pause_date=instant(row.get("pause_date")),
        billing_period=int(row.get("billing_period") or 1),
        billing_period_unit=str(row.get("billing_period_unit") or "month"),
        drafts=tuple(at for draft in ours if (at := instant(draft.get("date"))) is not None),
    )


def _is_for(draft: Row, subscription_id: str) -> bool:
    if draft.get("subscription_id") is not None:
        return bool(draft["subscription_id"] == subscription_id)
    return any(line.get("subscription_id") == subscription_id for line in _lines(draft))


def _cuts(subscription: MeteredSubscription) -> list[tuple[str, str, str | None]]:
    return [
        (subscription.id, (span.begin or LONG_AGO).replace(tzinfo=None).isoformat(), span.reason)
        for span in spans(subscription)
    ]


def _item_prices(work: Services, wanted: Sequence[str]) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """The calculation of each metered item price; and what is wrong with the others. Only the item says either."""
    prices = {str(row["id"]): str(row["item_id"]) for row in _named(work, "item_prices", "item_price", wanted)}
    items = {str(row["id"]): row for row in _named(work, "items", "item", sorted(set(prices.values())))}
    calculations: dict[str, str] = {}
    troubles = []
    for price in wanted:
        item = items.get(prices.get(price, ""))
        if item is None:
            troubles.append((price, "item_price_unknown", price))
        elif not item.get("metered"):
            troubles.append((price, "item_not_metered", price))
        else:
            asked = item.get("usage_calculation") or CALCULATIONS[0]
            if asked not in CALCULATIONS:
                raise SetupError("MB-SETTING", f"Chargebee's item {item['id']} has the usage calculation {asked}")
            calculations[price] = asked
    return calculations, troubles


def _records(work: Services, given: UsageInput, subscriptions: set[str]) -> list[tuple[str, str, str, str]]:
    """Our records of these subscriptions, by the ledger; one that was deleted still keeps its second."""
    with work.ledger.read() as rx:
        ours = [
            row
            for subscription in sorted(subscriptions)
            for row in mappings.by_scope(rx, "usage", f"subscription:{subscription}")
            if row.key[0] == given.mapping.name
        ]
    moments = [datetime.fromtimestamp(int(row.key[3]), UTC).replace(tzinfo=None).isoformat() for row in ours]
    return [
        (row.key[1], row.key[2], moment, ",".join(row.state["sketch"]))
        for row, moment in zip(ours, moments, strict=True)
    ]


def _items(row: Row) -> list[Row]:
    return list(row.get("subscription_items") or [])


def _lines(invoice: Row) -> list[Row]:
    return list(invoice.get("line_items") or [])


def _billed(draft: Row) -> Iterator[tuple[str, str]]:
    """What a pending invoice has lines of: an item may have left the subscription since."""
    for line in _lines(draft):
        if line.get("subscription_id") and line.get("entity_id"):
            yield str(line["subscription_id"]), str(line["entity_id"])
