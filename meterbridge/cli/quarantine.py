"""``meterbridge quarantine``: what was set aside, and what a person makes of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from connectors.wire import Request
from meterbridge.cli import words
from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.overview import awaiting_approval
from meterbridge.cli.show import AsJson, say, table, write
from meterbridge.errors import CODES, SetupError
from meterbridge.ledger import bills, intents
from meterbridge.ledger import quarantine as records
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.money import amount_text
from tasks import set_aside

quarantine = typer.Typer(
    no_args_is_help=True, help="Records set aside: see why, try again, or close them as dealt with by hand."
)

STATES = ("open", "retry", "dismissed", "cleared")
FACTS = (
    "code",
    "message",
    "kind",
    "key",
    "amount",
    "portion",
    "state",
    "flow",
    "run_id",
    "first_seen",
    "last_seen",
    "closed_by",
    "note",
)
"""What ``show`` tells of a record, in this order."""


@quarantine.command("list")
def list_records(
    as_json: AsJson = False,
    state: Annotated[
        str | None, typer.Option(help="open, retry, dismissed or cleared; default what nobody has closed.")
    ] = None,
) -> None:
    """List the records set aside, the oldest first, with code and amount."""
    if state is not None and state not in STATES:
        raise SetupError("MB-COMMAND", f"--state {state!r} is none of {', '.join(STATES)}")
    with ledger_here() as (_, ledger), ledger.read() as rx:
        found = records.list(rx, state)  # type: ignore[arg-type]  # checked above
        now = ledger.now()
        asked = awaiting_approval(rx, now)
    if as_json:
        write({"quarantined": [_row(row) for row in found], "awaiting_approval": asked})
        return
    cells = [
        (
            row.id,
            row.code,
            words.key(row.key),
            amount_text(row.amount, row.currency),
            words.age(now - row.first_seen),
            row.state,
            row.message,
        )
        for row in found
    ]
    columns = ("id", "code", "record", "amount", "age", "state", "what to know")
    table(f"{len(found)} records", columns, cells, right=("id", "amount"))
    for one in asked:
        total = amount_text(one["amount"], one["currency"])
        said = f"{one['count']} writes, {total}, await approval: `meterbridge approve {one['change_set']} --by NAME`"
        say(said)


@quarantine.command()
def show(
    record_id: Annotated[int, typer.Argument(metavar="ID", help="The number that `quarantine list` shows.")],
    as_json: AsJson = False,
) -> None:
    """Everything known of one record: why it was set aside, what was tried, and what to do."""
    with ledger_here() as (_, ledger), ledger.read() as rx:
        row = _existing(rx, record_id)
        tried = [_attempt(one) for one in _attempts(rx, row)]
        portion = bills.get_portion(rx, *row.key[:2]) if row.kind == "charge" and len(row.key) > 1 else None
    shown = {**_row(row), "portion": None if portion is None else _portion(portion), "attempts": tried}
    if as_json:
        write(shown)
        return
    facts = [(name, _text(name, shown)) for name in FACTS if shown.get(name) not in (None, "", [])]
    table(f"Record {row.id}: {CODES[row.code].meaning}", ("", ""), facts)
    cells = [
        (
            one["id"],
            one["action"],
            one["state"],
            one["target"],
            amount_text(one["amount"], one["currency"]),
            one["why"],
        )
        for one in tried
    ]
    if cells:
        table("What was intended", ("intent", "action", "state", "request", "amount", "reason or error"), cells)
    say(f"What to do: {CODES[row.code].remedy}")


@quarantine.command()
def retry(
    record_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers that `quarantine list` shows.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    code: Annotated[str | None, typer.Option(help="With --all: only those of this code, such as MB-REFUSED.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide records again in the next sync, because their cause is gone."""
    if bool(record_ids) == every or (code is not None and not every):
        raise SetupError("MB-COMMAND", "name records by their numbers, or say --all (with --code to narrow it)")
    if code is not None and code not in CODES:
        raise SetupError("MB-COMMAND", f"{code!r} is no error code")
    with ledger_here() as (_, ledger), ledger.write() as tx:
        if every:
            chosen = [row for row in records.list(tx, "open") if code in (None, row.code)]
        else:
            chosen = [_existing(tx, record_id) for record_id in record_ids or ()]
        again = [row.id for row in chosen if set_aside.retry(tx, row)]
        tx.commit()
    if as_json:
        write({"retry": again})
    else:
        say(f"{len(again)} records will be decided again by the next sync")


@quarantine.command()
def dismiss(
    record_id: Annotated[int, typer.Argument(metavar="ID", help="The number that `quarantine list` shows.")],
    by: Annotated[str, typer.Option(help="Who decides this.")],
    note: Annotated[str, typer.Option(help="What was done about it, for whoever asks later.")],
    as_json: AsJson = False,
) -> None:
    """Close a record as dealt with by hand; money of a bill then counts as settled at its amount."""
    if not by.strip() or not note.strip():
        raise SetupError("MB-COMMAND", "--by and --note must say something")
    with ledger_here() as (_, ledger), ledger.write() as tx:
        row = _existing(tx, record_id)
        if row.state not in ("open", "retry"):
            raise SetupError("MB-COMMAND", f"record {record_id} is {row.state}; there is nothing to dismiss")
        settled = set_aside.dismiss(tx, row, by.strip(), note.strip())
        tx.commit()
    if as_json:
        write({"dismissed": record_id, "settled": settled, "currency": row.currency})
        return
    money = "" if settled is None else f"; {amount_text(settled, row.currency)} count as settled by hand"
    say(f"record {record_id} ({row.code}) is dismissed{money}")


def _existing(rx: Reader, record_id: int) -> records.QuarantineRow:
    row = records.by_id(rx, record_id)
    if row is None:
        raise SetupError("MB-COMMAND", f"no record {record_id}; `meterbridge quarantine list` shows them")
    return row


def _row(row: records.QuarantineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "key": list(row.key),
        "code": row.code,
        "message": row.message,
        "remedy": CODES[row.code].remedy,
        "amount": row.amount,
        "currency": row.currency,
        "state": row.state,
        "flow": row.flow,
        "run_id": row.run_id,
        "first_seen": words.instant(row.first_seen),
        "last_seen": words.instant(row.last_seen),
        "closed_by": row.closed_by,
        "note": row.note,
    }


def _attempts(rx: Reader, row: records.QuarantineRow) -> list[intents.IntentRow]:
    """The record's own intents; of a portion or a bill those of its charges in the run that set it aside."""
    own = intents.history(rx, row.kind, row.key)
    return own or [one for one in intents.of_run(rx, row.run_id) if one.kind == row.kind and _within(one, row)]


def _within(one: intents.IntentRow, row: records.QuarantineRow) -> bool:
    return one.key[: len(row.key)] == row.key


def _attempt(row: intents.IntentRow) -> dict[str, Any]:
    target = None if row.request is None else Request.from_json(row.request).label(row.target)
    failed = f"{row.error_code}: {row.error_message}" if row.error_code else row.reason
    return {
        "id": row.id,
        "generation": row.generation,
        "action": row.action,
        "state": row.state,
        "target": target or f"{row.target}, not sent",
        "why": failed,
        "amount": row.amount,
        "currency": row.currency,
        "sent_at": words.instant(row.attempt_started_at),
        "tries": row.attempts,
        "run_id": row.run_id,
    }


def _portion(portion: bills.Portion) -> dict[str, Any]:
    return {"state": portion.state, "amount": portion.wanted, "currency": portion.currency, "reason": portion.reason}


def _text(name: str, shown: dict[str, Any]) -> str:
    value = shown[name]
    if name == "amount":
        return amount_text(value, shown["currency"])
    if name == "portion":
        return f"{value['state']}, {amount_text(value['amount'], value['currency'])}: {value['reason']}"
    return words.key(tuple(value)) if name == "key" else str(value)
