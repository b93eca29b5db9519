"""What m3ter's accounts look like, as hashes: a new customer is compared with all of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "account_digests",
        *(sa.Column(name, sa.Text(), primary_key=True, autoincrement=False) for name in ("connection", "account_id")),
        *(sa.Column(name, sa.Text()) for name in ("email", "name")),
    )
    for name in ("email", "name"):
        op.create_index(f"account_digests_by_{name}", "account_digests", ["connection", name])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("account_digests")
