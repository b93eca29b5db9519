"""A column of mappings that nothing ever wrote: the mapping at m3ter is a row of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Drop the column; it is empty in every ledger."""
    op.drop_column("mappings", "external_mapping_id")


def downgrade() -> None:
    """Add it again."""
    op.add_column("mappings", sa.Column("external_mapping_id", sa.Text(), nullable=True))
