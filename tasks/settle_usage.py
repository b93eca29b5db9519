"""After every batch of an input was taken: backfilled days are closed, a query's watermark moves."""

from __future__ import annotations

from meterbridge.ledger import backfills
from tasks.engine import task
from tasks.runs import Run
from tasks.services import services
from tasks.usage_input import UsageInput
from tasks.usage_query import settle_query


@task(name="settle usage")
def settle_usage(run: Run, given: UsageInput) -> int:
    """Close what the input began; returns how many backfilled days are closed now."""
    work = services(run.run_id)
    with work.ledger.write() as tx:
        closed = backfills.complete(tx, given.mapping.name, given.hash)
        settle_query(tx, given, run.run_id)
        tx.commit()
    return closed
