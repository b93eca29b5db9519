"""The ledger's tables, once: what the migrations must add up to.

Every natural key starts with ``connection``, so that several pairs of site and
organisation share one database without seeing each other. JSON and natural keys
are text (``rules.keys.key_text``), money is integer minor units, instants are
epoch seconds by the database's clock; nothing else is a floating-point number.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    literal_column,
    text,
)

from meterbridge.ledger.expressions import AnyText, JsonText

HEAD = "0010"
"""The newest migration; a test holds it to the migration files."""

VERSION_TABLE = "ledger_version"
"""Not Alembic's default name: the database may be shared with another program that uses Alembic."""

OPEN_STATES = ("proposed", "ready", "sending", "unknown")
UNSENT_STATES = ("proposed", "ready")
IN_FLIGHT_STATES = ("sending", "unknown")
INTENT_STATES = (*OPEN_STATES, "applied", "refused", "superseded", "dismissed")

OPEN_SQL = "state IN ('proposed', 'ready', 'sending', 'unknown')"

metadata = MetaData()

RowId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only for a primary key of type INTEGER."""


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, AnyText, nullable=null, primary_key=key)


def _instant(name: str, *, null: bool = False) -> Column[float]:
    return Column(name, Double, nullable=null)


def _whole(name: str, *, null: bool = False, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null, primary_key=key, autoincrement=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _id() -> Column[int]:
    return Column("id", RowId, primary_key=True, autoincrement=True)


connections = Table(
    "connections",
    metadata,
    _text("connection", key=True),
    _text("chargebee_site"),
    _text("m3ter_org"),
    _instant("bound_at"),
)

facts = Table(
    "facts",
    metadata,
    _text("connection", key=True),
    _text("name", key=True),
    _text("value"),
    _instant("updated_at"),
)

runs = Table(
    "runs",
    metadata,
    _text("connection", key=True),
    _text("run_id", key=True),
    _text("flow"),
    _text("state"),
    _instant("started_at"),
    _instant("ended_at", null=True),
    _text("parameters"),
    _text("staging"),
    _text("counts", null=True),
    _text("change_set", null=True),
    _text("runner", null=True),
    _instant("seen_at", null=True),
    Index("runs_by_start", "connection", "started_at"),
)

watermarks = Table(
    "watermarks",
    metadata,
    _text("connection", key=True),
    _text("resource", key=True),
    _instant("position"),
    _text("fingerprint"),
    _text("run_id"),
    _instant("updated_at"),
)

mappings = Table(
    "mappings",
    metadata,
    _text("connection", key=True),
    _text("kind", key=True),
    _text("natural_key", key=True),
    _text("remote_id"),
    _text("fingerprint"),
    _text("scope"),
    _text("state"),
    _flag("active"),
    _whole("source_version", null=True),
    _text("run_id"),
    _instant("created_at"),
    _instant("updated_at"),
    Index("mappings_by_remote", "connection", "kind", "remote_id"),
    Index("mappings_by_scope", "connection", "kind", "scope"),
)
Index(
    "mappings_by_invoice",
    mappings.c.connection,
    mappings.c.kind,
    JsonText(mappings.c.state, literal_column("'invoice_id'")),
)

intents = Table(
    "intents",
    metadata,
    _id(),
    _text("connection"),
    _text("kind"),
    _text("natural_key"),
    _whole("generation"),
    _text("action"),
    _text("target"),
    _text("state"),
    _text("fingerprint"),
    _text("payload"),
    _text("wanted"),
    _text("reason"),
    _text("scope"),
    _text("depends_on"),
    _text("warnings"),
    _whole("amount", null=True),
    _text("currency", null=True),
    _whole("source_version", null=True),
    _text("change_set"),
    _text("approval", null=True),
    _text("run_id"),
    _text("idempotency_key"),
    _text("request", null=True),
    _text("baseline", null=True),
    _instant("first_sent_at", null=True),
    _instant("attempt_started_at", null=True),
    _whole("attempts"),
    _text("lease_owner", null=True),
    _instant("lease_until", null=True),
    _text("outcome", null=True),
    _text("error_code", null=True),
    _text("error_message", null=True),
    _instant("created_at"),
    _instant("updated_at"),
    CheckConstraint(f"state IN ({', '.join(repr(s) for s in INTENT_STATES)})", name="intents_state"),
    Index("intents_generation", "connection", "kind", "natural_key", "generation", unique=True),
    Index(
        "intents_one_open",
        "connection",
        "kind",
        "natural_key",
        unique=True,
        sqlite_where=text(OPEN_SQL),
        postgresql_where=text(OPEN_SQL),
    ),
    Index("intents_by_state", "connection", "state", "id"),
    Index(
        "intents_open_by_scope",
        "connection",
        "scope",
        "id",
        sqlite_where=text(OPEN_SQL),
        postgresql_where=text(OPEN_SQL),
    ),
    Index("intents_by_change_set", "connection", "change_set"),
    Index("intents_by_run", "connection", "run_id"),
)

intent_dependencies = Table(
    "intent_dependencies",
    metadata,
    _text("connection", key=True),
    Column("intent_id", RowId, ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    _text("kind", key=True),
    _text("natural_key", key=True),
)

proposals = Table(
    "proposals",
    metadata,
    _text("connection", key=True),
    _text("change_set", key=True),
    Column("intent_id", RowId, ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    _text("why"),
    _text("words"),
    _text("run_id"),
    _instant("proposed_at"),
    Index("proposals_by_intent", "connection", "intent_id", "proposed_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    _id(),
    _text("connection"),
    _text("kind"),
    _text("natural_key"),
    _text("flow"),
    _text("state"),
    _text("code"),
    _text("message"),
    _whole("amount", null=True),
    _text("currency", null=True),
    _whole("source_version", null=True),
    _text("run_id"),
    _instant("first_seen"),
    _instant("last_seen"),
    _text("closed_by", null=True),
    _text("note", null=True),
    _instant("due_at", null=True),
    Index("quarantine_record", "connection", "kind", "natural_key", unique=True),
    Index("quarantine_by_state", "connection", "state"),
)

inbox = Table(
    "inbox",
    metadata,
    _id(),
    _text("connection"),
    _text("source"),
    _text("event_id"),
    _text("event_type"),
    _text("resource"),
    _text("resource_id"),
    _instant("occurred_at", null=True),
    _instant("received_at"),
    _instant("done_at", null=True),
    _whole("resource_version", null=True),
    _whole("attempts", null=True),
    _instant("try_after", null=True),
    _text("trouble", null=True),
    Index("inbox_event", "connection", "source", "event_id", unique=True),
    Index(
        "inbox_pending",
        "connection",
        "id",
        sqlite_where=text("done_at IS NULL"),
        postgresql_where=text("done_at IS NULL"),
    ),
)

malformed = Table(
    "malformed",
    metadata,
    _text("connection", key=True),
    _text("source", key=True),
    _text("digest", key=True),
    _text("reason"),
    _text("outline"),
    _whole("bytes"),
    _whole("times"),
    _instant("first_seen"),
    _instant("last_seen"),
)

bill_states = Table(
    "bill_states",
    metadata,
    _text("connection", key=True),
    _text("bill_id", key=True),
    _whole("version"),
    _text("dt_last_modified", null=True),
    _text("last_calculated", null=True),
    _text("status"),
    _flag("locked"),
    _text("bill_date"),
    _text("account_id"),
    _text("currency"),
    _text("total", null=True),
    _flag("finished"),
    _flag("deleted"),
    _instant("updated_at"),
)

portions = Table(
    "portions",
    metadata,
    _text("connection", key=True),
    _text("bill_id", key=True),
    _text("subscription_id", key=True),
    _text("currency"),
    _whole("wanted"),
    _text("state"),
    _text("reason"),
    _instant("since"),
    _text("invoice_id", null=True),
    _instant("until", null=True),
    _instant("updated_at"),
    Index("portions_by_state", "connection", "state"),
)

usage_batches = Table(
    "usage_batches",
    metadata,
    _text("connection", key=True),
    _text("mapping", key=True),
    _text("batch_hash", key=True),
    _text("input_hash"),
    _whole("number"),
    _whole("row_count"),
    _text("state"),
    _text("job_id", null=True),
    _text("run_id"),
    _instant("updated_at"),
    Index("usage_batches_by_input", "connection", "mapping", "input_hash", "number"),
)

usage_members = Table(
    "usage_members",
    metadata,
    *(_text(name, key=True) for name in ("connection", "mapping", "batch_hash")),
    _text("input_hash"),
    _text("members"),
    Index("usage_members_by_input", "connection", "mapping", "input_hash"),
)

usage_backfills = Table(
    "usage_backfills",
    metadata,
    _text("connection", key=True),
    _text("mapping", key=True),
    _text("meter", key=True),
    _text("account", key=True),
    _text("day", key=True),
    _text("input_hash"),
    _text("state"),
    _text("run_id"),
    _instant("updated_at"),
    Index("usage_backfills_by_input", "connection", "mapping", "input_hash"),
)

account_digests = Table(
    "account_digests",
    metadata,
    *(_text(name, key=True) for name in ("connection", "account_id")),
    *(_text(name, null=True) for name in ("email", "name")),
    Index("account_digests_by_email", "connection", "email"),
    Index("account_digests_by_name", "connection", "name"),
)

allowances = Table(
    "allowances",
    metadata,
    *(_text(name, key=True) for name in ("connection", "vendor")),
    _instant("next_slot"),
)

for _keyed in (mappings, intents):
    # PostgreSQL answers what begins with a text from an index only if it compares byte by byte.
    Index(
        f"{_keyed.name}_by_prefix",
        _keyed.c.connection,
        _keyed.c.kind,
        _keyed.c.natural_key,
        postgresql_ops={"natural_key": "text_pattern_ops"},
    ).ddl_if(dialect="postgresql")
