"""What a receiver and a drain need: tries per event, the version an event told of, bodies that are no event."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ADDED: tuple[tuple[str, type[sa.types.TypeEngine[Any]]], ...] = (
    ("resource_version", sa.BigInteger),
    ("attempts", sa.BigInteger),
    ("try_after", sa.Double),
    ("trouble", sa.Text),
)
_TEXTS = ("connection", "source", "event_id", "event_type", "resource", "resource_id")
_INSTANTS = {"occurred_at": True, "received_at": False, "done_at": True}


def upgrade() -> None:
    """Add the columns and the table."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(_ADDED)
    else:
        for name, kind in _ADDED:
            op.add_column("inbox", sa.Column(name, kind(), nullable=True))
    op.create_table(
        "malformed",
        *(sa.Column(name, sa.Text(), primary_key=True) for name in ("connection", "source", "digest")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("reason", "outline")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("bytes", "times")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("first_seen", "last_seen")),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("malformed")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(())
    else:
        for name, _ in reversed(_ADDED):
            op.drop_column("inbox", name)


def _rebuild(added: tuple[tuple[str, type[sa.types.TypeEngine[Any]]], ...]) -> None:
    """A new inbox with the old one's rows: SQLite's ALTER TABLE would leave a schema unlike a fresh one."""
    for index in ("inbox_event", "inbox_pending"):
        op.drop_index(index, "inbox")
    op.rename_table("inbox", "inbox_before")
    op.create_table(
        "inbox",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, sa.Double(), nullable=null) for name, null in _INSTANTS.items()),
        *(sa.Column(name, kind(), nullable=True) for name, kind in added),
    )
    kept = ("id", *_TEXTS, *_INSTANTS)
    inbox, before = (sa.table(name, *(sa.column(each) for each in kept)) for name in ("inbox", "inbox_before"))
    op.execute(inbox.insert().from_select(kept, before.select()))
    op.drop_table("inbox_before")
    op.create_index("inbox_event", "inbox", ["connection", "source", "event_id"], unique=True)
    op.create_index("inbox_pending", "inbox", ["connection", "id"], sqlite_where=sa.text("done_at IS NULL"))
