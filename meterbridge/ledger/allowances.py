"""Each vendor's request budget, shared by all processes: one clock of departure slots per connection and vendor."""

from __future__ import annotations

from sqlalchemy import case, literal

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import allowances
from meterbridge.ledger.transaction import Writer, insert_into

LONGEST_SECONDS = 180.0
"""A vendor's window of a minute, and the longest hold."""


def lease(tx: Writer, vendor: str, tokens: int, rate: float, longest: float = LONGEST_SECONDS) -> float:
    """Reserve the next free slots on the vendor's clock; nobody else gets them.

    Idle time is not saved up: after a pause the clock starts again at now. It does so, too, where it is further ahead
    than anybody could have reserved: the database's clock has been set back, or was ahead for a while.

    Args:
        tokens: How many requests, at least 1.
        rate: Requests per second that all processes may send together.
        longest: Seconds that the vendor's clock can be ahead by what was reserved and held.

    Returns:
        Epoch second, by the database's clock, at which the first may leave; the
        others follow ``1 / rate`` seconds apart.
    """
    if tokens < 1 or rate <= 0:
        raise ValueError("a lease needs at least one token and a positive rate")
    span = tokens / rate
    row = {"connection": tx.connection, "vendor": vendor}
    ahead = allowances.c.next_slot.between(EpochNow(), EpochNow() + literal(longest))
    start = case((ahead, allowances.c.next_slot), else_=EpochNow())
    statement = (
        insert_into(tx, allowances)
        .values(**row, next_slot=EpochNow() + literal(span))
        .on_conflict_do_update(index_elements=["connection", "vendor"], set_={"next_slot": start + literal(span)})
        .returning(allowances.c.next_slot)
    )
    return float(tx.execute(statement).scalar_one()) - span


def hold(tx: Writer, vendor: str, until: float) -> None:
    """Let nobody's next lease start before ``until`` (epoch seconds); an earlier one changes nothing."""
    row = {"connection": tx.connection, "vendor": vendor, "next_slot": until}
    later = case((allowances.c.next_slot > until, allowances.c.next_slot), else_=literal(until))
    statement = insert_into(tx, allowances).values(**row)
    tx.execute(statement.on_conflict_do_update(index_elements=["connection", "vendor"], set_={"next_slot": later}))
