"""Which Chargebee site and m3ter organisation a connection stands for."""

from __future__ import annotations

from sqlalchemy import select

from meterbridge.errors import SetupError
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import connections
from meterbridge.ledger.transaction import Writer, insert_new


def bind(tx: Writer, chargebee_site: str, m3ter_org: str) -> None:
    """Bind the connection to its pair at the first call, and hold it to that pair ever after.

    Raises:
        SetupError: MB-BOUND, the connection is bound to another pair.
    """
    row = {
        "connection": tx.connection,
        "chargebee_site": chargebee_site,
        "m3ter_org": m3ter_org,
        "bound_at": EpochNow(),
    }
    if insert_new(tx, connections, row, ["connection"]):
        return
    bound = tx.execute(select(connections).where(connections.c.connection == tx.connection)).one()
    if (bound.chargebee_site, bound.m3ter_org) != (chargebee_site, m3ter_org):
        raise SetupError(
            "MB-BOUND",
            f"connection {tx.connection!r} is bound to site {bound.chargebee_site!r} and organisation "
            f"{bound.m3ter_org!r}, not to {chargebee_site!r} and {m3ter_org!r}",
        )
