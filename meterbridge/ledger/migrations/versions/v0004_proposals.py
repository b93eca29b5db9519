"""What belongs to which proposed change set: a person approves exactly that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "proposals",
        *(sa.Column(name, sa.Text(), primary_key=True, autoincrement=False) for name in ("connection", "change_set")),
        sa.Column(
            "intent_id", row_id, sa.ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("why", "words", "run_id")),
        sa.Column("proposed_at", sa.Double(), nullable=False),
    )
    op.create_index("proposals_by_intent", "proposals", ["connection", "intent_id", "proposed_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("proposals")
