"""Bills with too much on a closed invoice, beside the bills that a run was asked for by their ids.

What one bill has too much lowers a new charge of another only where both are decided in one run. A run that was asked
for some bills takes such a bill in; else it would write the charge in full, and the surplus would wait for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from meterbridge.ledger import bills
from meterbridge.ledger.ledger import Reader
from meterbridge.staging.database import Staging

ACCOUNTS = (
    "select accountId as id from raw_m3ter__bills "
    "union select childAccountId from raw_m3ter__bill_lines where childAccountId is not null"
)
SUBSCRIPTIONS = f"select distinct subscription_id as id from ref_account_plans where account_id in ({ACCOUNTS})"


def surplus_beside(rx: Reader, file: Staging, known: Mapping[str, bills.BillState]) -> tuple[str, ...]:
    """Bills with a surplus of a subscription that the landed bills may charge, without these.

    Args:
        rx: Where portions are remembered.
        file: Holds the landed bills with their lines, and the account plans that the ledger knows.
        known: What the ledger knows of each bill, by its id.
    """
    landed = {row["id"] for row in file.rows("select id from raw_m3ter__bills")}
    accounts = {row["id"] for row in file.rows(ACCOUNTS)}
    subscriptions = {row["id"] for row in file.rows(SUBSCRIPTIONS)}
    beside: dict[str, None] = {}
    for portion in (*bills.portions(rx, state="quarantined"), *bills.portions(rx, state="waiting")):
        bill = known.get(portion.bill_id)
        if bill is None or portion.bill_id in landed or not _too_much(portion, bill):
            continue
        if portion.subscription_id in subscriptions or bill.account_id in accounts:
            beside[portion.bill_id] = None
    return tuple(beside)


def _too_much(portion: bills.Portion, bill: bills.BillState) -> bool:
    """True if more stands for the portion than its bill wants, or lowers a charge that has not left yet."""
    return portion.wanted < 0 or bill.deleted
