"""When an account plan that is set aside should have ended: no later version of its subscription moves that."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_KEYS = ("connection", "kind", "natural_key")
_TEXTS = (*_KEYS, "flow", "state", "code", "message")
_MORE: tuple[tuple[str, type[sa.types.TypeEngine[Any]], bool], ...] = (
    ("amount", sa.BigInteger, True),
    ("currency", sa.Text, True),
    ("source_version", sa.BigInteger, True),
    ("run_id", sa.Text, False),
    ("first_seen", sa.Double, False),
    ("last_seen", sa.Double, False),
    ("closed_by", sa.Text, True),
    ("note", sa.Text, True),
)


def upgrade() -> None:
    """Add the column; what was set aside before has none and is decided as it was."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(sa.Column("due_at", sa.Double(), nullable=True))
    else:
        op.add_column("quarantine", sa.Column("due_at", sa.Double(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        op.drop_column("quarantine", "due_at")


def _rebuild(*added: sa.Column[float]) -> None:
    """A new table with the old one's rows: SQLite's ALTER TABLE would leave a schema unlike a fresh one."""
    for index in ("quarantine_record", "quarantine_by_state"):
        op.drop_index(index, "quarantine")
    op.rename_table("quarantine", "quarantine_before")
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, kind(), nullable=null) for name, kind, null in _MORE),
        *added,
    )
    kept = ("id", *_TEXTS, *(name for name, _, _ in _MORE))
    new, before = (sa.table(name, *(sa.column(each) for each in kept)) for name in ("quarantine", "quarantine_before"))
    op.execute(new.insert().from_select(kept, before.select()))
    op.drop_table("quarantine_before")
    op.create_index("quarantine_record", "quarantine", list(_KEYS), unique=True)
    op.create_index("quarantine_by_state", "quarantine", ["connection", "state"])
