"""Our credits at Chargebee, found again by their references for an older or lost ledger. Writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from meterbridge.ledger import mappings
from meterbridge.rules.credits import FoundCredit, adopt_credit, given_for
from meterbridge.rules.keys import connection_mark, key_text
from meterbridge.rules.records import Intent
from meterbridge.staging.database import Staging, opened
from tasks.credits_given import GIVEN, given
from tasks.engine import task
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

PORTIONS = (
    "select distinct b.id as bill_id, p.subscription_id from stg_bills as b "
    "left join stg_bill_lines as l on l.bill_id = b.id "
    "join int_placed_plans as p on p.account_id in (b.account_id, l.child_account_id) union "
    "select y.bill_id, s.id from int_payers as y join stg_subscriptions as s on s.customer_id = y.customer_id union "
    "select bill_id, subscription_id from ref_charges order by 1, 2"
)
"""Portions that a credit may have been given for."""


@dataclass(frozen=True, slots=True)
class Credits:
    """``news`` are credits that the ledger did not know, ``strange`` ids of those with our reference and no portion."""

    news: tuple[Intent, ...] = ()
    strange: tuple[str, ...] = ()


@task(name="find credits")
def find_credits(run: Run) -> Credits:
    """Find the credits that carry references of ours; from here on this run counts them as standing."""
    work = services(run.run_id)
    settings = work.settings
    mark = connection_mark(settings.connection, settings.chargebee_site, settings.m3ter_org_id)
    with opened(run.path) as file:
        file.make("bills", "int_payers")
        portions = [(row["bill_id"], row["subscription_id"]) for row in file.rows(PORTIONS)]
        claimed, strange = given_for(_there(work), portions, mark)
        with work.ledger.read() as rx:
            known = mappings.remote_ids(rx, [("credit", key) for key in claimed])
        news = [adopt_credit(key, one) for key, one in claimed.items() if known.get(("credit", key)) != one.id]
        _count_in(file, news)
    logger.info("credits found", extra={"run_id": run.run_id, "count": len(news)})
    return Credits(tuple(news), tuple(one.id for one in strange))


def _there(work: Services) -> Iterator[FoundCredit]:
    for method in GIVEN:
        yield from given(work.chargebee, method)


def _count_in(file: Staging, news: list[Intent]) -> None:
    nowhere = {"invoice_id": "", "line_id": "", "movable": False}
    names = ("bill_id", "subscription_id", "amount", "currency", "reference")
    rows = ({**{name: one.state[name] for name in names}, "key": key_text(one.key), **nowhere} for one in news)
    file.land_rows("ref_charges", rows)
    file.land_rows("ref_credit_notes", ({"credit_id": one.payload["credit_id"]} for one in news))
