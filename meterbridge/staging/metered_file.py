"""Usage for Chargebee in a run's staging file: rows are placed in time and gathered into usage records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from meterbridge.staging.database import statement
from meterbridge.staging.usage_file import UsageFile, closing_well

_EXACT = r'"quantity":-?[0-9]{1,20}(\.[0-9]{1,10})?\}$'


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A row of ``out_usage_groups``; ``usage_date`` in epoch seconds."""

    subscription_id: str
    item_price_id: str
    usage_date: int
    calculation: str
    closed: str | None
    rows: int
    seen: int
    sketch: tuple[str, ...]
    quantity: Decimal


class MeteredFile(UsageFile):
    """One run's staging file, opened for metered usage: ``account`` is a subscription, ``meter`` an item price."""

    def pairs(self) -> list[tuple[str, str]]:
        """Each (subscription, item price) of rows that are sound so far."""
        return list(self._rows("select distinct account, meter from stg_usage where reason is null order by all"))

    def reject_inexact(self) -> None:
        """Quantities that a sum could not hold to the last digit."""
        self._connection.execute(
            "update stg_usage set reason = 'quantity_inexact', subject = left(fields, 200) "
            "where reason is null and not regexp_matches(fields, $exact)",
            {"exact": _EXACT},
        )

    def reject_absent(self) -> None:
        """Item prices that the subscription does not have; what is wrong with either alone is told first."""
        self._connection.execute(
            "update stg_usage set reason = 'item_absent', subject = account || ' ' || meter where reason is null "
            "and not exists (from ref_usage_held h where h.subscription_id = account and h.item_price_id = meter) "
            "and not exists (from ref_usage_accounts a where a.code = account) "
            "and not exists (from ref_usage_meters m where m.code = meter)"
        )

    def gather(self, period: str) -> None:
        """Make the records; after :meth:`judge`."""
        text = statement("metered_usage", "int_usage_quantities")
        self._connection.execute(text, {"period": period})
        self._connection.execute(statement("metered_usage", "out_usage_groups"))

    def groups(self) -> Iterator[GroupRow]:
        """The records that Chargebee is to hold, those of a subscription together."""
        query = (
            "select subscription_id, item_price_id, usage_date, calculation, closed, row_count, seen, sketch, quantity "
            "from out_usage_groups order by subscription_id, item_price_id, usage_date"
        )
        for row in self._rows(query):
            yield GroupRow(*(*row[:7], tuple(row[7]), Decimal(row[8])))


@contextmanager
def metered_opened(path: Path) -> Iterator[MeteredFile]:
    """Open a run's staging file for metered usage, for the length of a block."""
    with closing_well(MeteredFile(path)) as file:
        yield file
