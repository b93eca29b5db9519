"""Which process a run is in and when it was last heard of: a run whose process is gone is told apart.

``usage_inputs`` goes: nothing ever wrote to it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_KEYS = ("connection", "run_id")
_ADDED: tuple[tuple[str, type[sa.types.TypeEngine[str]] | type[sa.types.TypeEngine[float]]], ...] = (
    ("runner", sa.Text),
    ("seen_at", sa.Double),
)


def upgrade() -> None:
    """Add the columns, drop the table."""
    op.drop_table("usage_inputs")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(added=True)
        return
    for name, kind in _ADDED:
        op.add_column("runs", sa.Column(name, kind(), nullable=True))


def downgrade() -> None:
    """Drop them, and bring the empty table back."""
    op.create_table(
        "usage_inputs",
        *(sa.Column(name, sa.Text(), primary_key=True) for name in ("connection", "mapping", "input_hash")),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("declared_at", sa.Double(), nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(added=False)
        return
    for name, _ in reversed(_ADDED):
        op.drop_column("runs", name)


def _rebuild(*, added: bool) -> None:
    """A new table with the old one's rows: SQLite's ALTER TABLE would leave a schema unlike a fresh one."""
    columns = [
        *(sa.Column(name, sa.Text(), primary_key=True) for name in _KEYS),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("flow", "state")),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("parameters", "staging")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("counts", "change_set")),
    ]
    kept = [column.name for column in columns]
    op.drop_index("runs_by_start", "runs")
    op.rename_table("runs", "runs_before")
    op.create_table("runs", *columns, *(sa.Column(name, kind(), nullable=True) for name, kind in _ADDED if added))
    runs, before = (sa.table(name, *(sa.column(each) for each in kept)) for name in ("runs", "runs_before"))
    op.execute(runs.insert().from_select(kept, before.select()))
    op.drop_table("runs_before")
    op.create_index("runs_by_start", "runs", ["connection", "started_at"])
