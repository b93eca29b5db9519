"""The whole ledger, as first released.

Frozen: it repeats the tables instead of importing them, so that later changes of
``schema.py`` do not rewrite history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = "state IN ('proposed', 'ready', 'sending', 'unknown')"
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _create_runs()
    _create_mappings()
    _create_intents()
    _create_intent_indexes()
    _create_quarantine_and_inbox()
    _create_bills()
    _create_usage()
    _create_approvals_and_allowances()


def downgrade() -> None:
    """Drop every table."""
    for name in (
        "allowances",
        "approvals",
        "usage_batches",
        "usage_inputs",
        "portions",
        "bill_states",
        "inbox",
        "quarantine",
        "intent_dependencies",
        "intents",
        "mappings",
        "watermarks",
        "runs",
        "facts",
        "connections",
    ):
        op.drop_table(name)


def _column(name: str, kind: sa.types.TypeEngine[Any], *, null: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null, primary_key=key, autoincrement=False)


def _keys(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.Text(), key=True) for name in names]


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.Text()) for name in names]


def _text(name: str) -> sa.Column[Any]:
    return _column(name, sa.Text(), null=True)


def _instant(name: str, *, null: bool = False) -> sa.Column[Any]:
    return _column(name, sa.Double(), null=null)


def _whole(name: str, *, null: bool = False) -> sa.Column[Any]:
    return _column(name, sa.BigInteger(), null=null)


def _flag(name: str) -> sa.Column[Any]:
    return _column(name, sa.Boolean())


def _id() -> sa.Column[Any]:
    return sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True)


def _index(name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, list(columns), unique=unique, sqlite_where=condition, postgresql_where=condition)


def _create_runs() -> None:
    op.create_table("connections", *_keys("connection"), *_texts("chargebee_site", "m3ter_org"), _instant("bound_at"))
    op.create_table("facts", *_keys("connection", "name"), *_texts("value"), _instant("updated_at"))
    op.create_table(
        "runs",
        *_keys("connection", "run_id"),
        *_texts("flow", "state"),
        _instant("started_at"),
        _instant("ended_at", null=True),
        *_texts("parameters", "staging"),
        _text("counts"),
        _text("change_set"),
    )
    _index("runs_by_start", "runs", ["connection", "started_at"])
    op.create_table(
        "watermarks",
        *_keys("connection", "resource"),
        _instant("position"),
        *_texts("fingerprint", "run_id"),
        _instant("updated_at"),
    )


def _create_mappings() -> None:
    op.create_table(
        "mappings",
        *_keys("connection", "kind", "natural_key"),
        *_texts("remote_id", "fingerprint", "scope", "state"),
        _flag("active"),
        _whole("source_version", null=True),
        _text("external_mapping_id"),
        *_texts("run_id"),
        _instant("created_at"),
        _instant("updated_at"),
    )
    _index("mappings_by_remote", "mappings", ["connection", "kind", "remote_id"])
    _index("mappings_by_scope", "mappings", ["connection", "kind", "scope"])
    postgres = op.get_bind().dialect.name == "postgresql"
    invoice = "(CAST(state AS JSONB) ->> 'invoice_id')" if postgres else "json_extract(state, '$.' || 'invoice_id')"
    op.create_index("mappings_by_invoice", "mappings", ["connection", "kind", sa.text(invoice)])


def _create_intents() -> None:
    op.create_table(
        "intents",
        _id(),
        *_texts("connection", "kind", "natural_key"),
        _whole("generation"),
        *_texts("action", "target", "state", "fingerprint", "payload", "wanted", "reason", "scope"),
        *_texts("depends_on", "warnings"),
        _whole("amount", null=True),
        _text("currency"),
        _whole("source_version", null=True),
        *_texts("change_set"),
        _text("approval"),
        *_texts("run_id", "idempotency_key"),
        _text("request"),
        _text("baseline"),
        _instant("first_sent_at", null=True),
        _instant("attempt_started_at", null=True),
        _whole("attempts"),
        _text("lease_owner"),
        _instant("lease_until", null=True),
        _text("outcome"),
        _text("error_code"),
        _text("error_message"),
        _instant("created_at"),
        _instant("updated_at"),
        sa.CheckConstraint(
            "state IN ('proposed', 'ready', 'sending', 'unknown', 'applied', 'refused', 'superseded', 'dismissed')",
            name="intents_state",
        ),
    )
    op.create_table(
        "intent_dependencies",
        *_keys("connection"),
        sa.Column(
            "intent_id", _ROW_ID, sa.ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        *_keys("kind", "natural_key"),
    )


def _create_intent_indexes() -> None:
    key = ["connection", "kind", "natural_key"]
    _index("intents_generation", "intents", [*key, "generation"], unique=True)
    _index("intents_one_open", "intents", key, unique=True, where=_OPEN)
    _index("intents_by_state", "intents", ["connection", "state", "id"])
    _index("intents_open_by_scope", "intents", ["connection", "scope", "id"], where=_OPEN)
    _index("intents_by_change_set", "intents", ["connection", "change_set"])
    _index("intents_by_run", "intents", ["connection", "run_id"])


def _create_quarantine_and_inbox() -> None:
    op.create_table(
        "quarantine",
        _id(),
        *_texts("connection", "kind", "natural_key", "flow", "state", "code", "message"),
        _whole("amount", null=True),
        _text("currency"),
        _whole("source_version", null=True),
        *_texts("run_id"),
        _instant("first_seen"),
        _instant("last_seen"),
        _text("closed_by"),
        _text("note"),
    )
    _index("quarantine_record", "quarantine", ["connection", "kind", "natural_key"], unique=True)
    _index("quarantine_by_state", "quarantine", ["connection", "state"])
    op.create_table(
        "inbox",
        _id(),
        *_texts("connection", "source", "event_id", "event_type", "resource", "resource_id"),
        _instant("occurred_at", null=True),
        _instant("received_at"),
        _instant("done_at", null=True),
    )
    _index("inbox_event", "inbox", ["connection", "source", "event_id"], unique=True)
    _index("inbox_pending", "inbox", ["connection", "id"], where="done_at IS NULL")


def _create_bills() -> None:
    op.create_table(
        "bill_states",
        *_keys("connection", "bill_id"),
        _whole("version"),
        _text("dt_last_modified"),
        _text("last_calculated"),
        *_texts("status"),
        _flag("locked"),
        *_texts("bill_date", "account_id", "currency"),
        _text("total"),
        _flag("finished"),
        _flag("deleted"),
        _instant("updated_at"),
    )
    op.create_table(
        "portions",
        *_keys("connection", "bill_id", "subscription_id"),
        *_texts("currency"),
        _whole("wanted"),
        *_texts("state", "reason"),
        _instant("since"),
        _text("invoice_id"),
        _instant("until", null=True),
        _instant("updated_at"),
    )
    _index("portions_by_state", "portions", ["connection", "state"])


def _create_usage() -> None:
    op.create_table(
        "usage_inputs",
        *_keys("connection", "mapping", "input_hash"),
        *_texts("name"),
        _whole("row_count"),
        *_texts("run_id"),
        _instant("declared_at"),
    )
    op.create_table(
        "usage_batches",
        *_keys("connection", "mapping", "batch_hash"),
        *_texts("input_hash"),
        _whole("number"),
        _whole("row_count"),
        *_texts("state"),
        _text("job_id"),
        *_texts("run_id"),
        _instant("updated_at"),
    )
    _index("usage_batches_by_input", "usage_batches", ["connection", "mapping", "input_hash", "number"])


def _create_approvals_and_allowances() -> None:
    op.create_table(
        "approvals",
        *_keys("connection", "change_set"),
        *_texts("flow", "approved_by"),
        _text("note"),
        _instant("approved_at"),
    )
    op.create_table("allowances", *_keys("connection", "vendor"), _instant("next_slot"))
