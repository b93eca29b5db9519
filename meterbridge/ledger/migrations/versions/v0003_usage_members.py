"""What a resumed usage run needs: which rows each batch holds, and which days were backfilled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create both tables."""
    op.create_table("usage_members", *_keys("connection", "mapping", "batch_hash"), *_texts("input_hash", "members"))
    op.create_index("usage_members_by_input", "usage_members", ["connection", "mapping", "input_hash"])
    op.create_table(
        "usage_backfills",
        *_keys("connection", "mapping", "meter", "account", "day"),
        *_texts("input_hash", "state", "run_id"),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.create_index("usage_backfills_by_input", "usage_backfills", ["connection", "mapping", "input_hash"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("usage_backfills")
    op.drop_table("usage_members")


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), primary_key=True, autoincrement=False) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
