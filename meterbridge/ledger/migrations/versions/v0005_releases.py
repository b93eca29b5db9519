"""What a person allowed beyond a bill's total, and an index that finds a bill's rows by their key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create both."""
    op.create_table(
        "releases",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("connection", "bill_id")),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("currency", "released_by", "note")),
        sa.Column("released_at", sa.Double(), nullable=False),
    )
    op.create_index("releases_by_bill", "releases", ["connection", "bill_id"])
    if op.get_bind().dialect.name == "postgresql":
        for table in ("mappings", "intents"):
            op.create_index(
                f"{table}_by_prefix",
                table,
                ["connection", "kind", "natural_key"],
                postgresql_ops={"natural_key": "text_pattern_ops"},
            )


def downgrade() -> None:
    """Drop both."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("mappings", "intents"):
            op.drop_index(f"{table}_by_prefix", table)
    op.drop_table("releases")
