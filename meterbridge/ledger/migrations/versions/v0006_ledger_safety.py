"""Which runs wrote money and from which home, who stopped the sending, what a rebuilt ledger cannot answer for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "money_runs",
        _id(),
        *_texts("connection", "run_id", "home", "change_set"),
        sa.Column("writes", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
    )
    op.create_index("money_runs_run", "money_runs", ["connection", "run_id"], unique=True)
    op.create_table(
        "holds",
        _id(),
        *_texts("connection", "customer_id", "held_by", "note"),
        sa.Column("held_at", sa.Double(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("release_note", sa.Text(), nullable=True),
        sa.Column("released_at", sa.Double(), nullable=True),
    )
    active = sa.text("released_at IS NULL")
    op.create_index(
        "holds_active",
        "holds",
        ["connection", "customer_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "doubts",
        *(sa.Column(name, sa.Text(), primary_key=True, autoincrement=False) for name in ("connection", "bill_id")),
        *_texts("why", "run_id"),
        sa.Column("since", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("doubts")
    op.drop_table("holds")
    op.drop_table("money_runs")


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
