"""Tables of what people decide, and of what keeps the ledger safe: runs that wrote money, bills in doubt.

They are part of the same schema as ``schema.py`` and under the same rules.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text, text

from meterbridge.ledger.schema import RowId, metadata


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


money_runs = Table(
    "money_runs",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    *_texts("connection", "run_id", "home", "change_set"),
    Column("writes", BigInteger, nullable=False),
    Column("begun_at", Double, nullable=False),
    Index("money_runs_run", "connection", "run_id", unique=True),
)

holds = Table(
    "holds",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    *_texts("connection", "customer_id", "held_by", "note"),
    Column("held_at", Double, nullable=False),
    Column("released_by", Text),
    Column("release_note", Text),
    Column("released_at", Double),
    Index(
        "holds_active",
        "connection",
        "customer_id",
        unique=True,
        sqlite_where=text("released_at IS NULL"),
        postgresql_where=text("released_at IS NULL"),
    ),
)

doubts = Table(
    "doubts",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("bill_id", Text, primary_key=True),
    *_texts("why", "run_id"),
    Column("since", Double, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    *_texts("connection", "bill_id"),
    Column("amount", BigInteger, nullable=False),
    *_texts("currency", "released_by", "note"),
    Column("released_at", Double, nullable=False),
    Index("releases_by_bill", "connection", "bill_id"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("change_set", Text, primary_key=True),
    *_texts("flow", "approved_by"),
    Column("note", Text),
    Column("approved_at", Double, nullable=False),
)
