"""Money whose draft closes before it is on it: said in the report, as an event, and kept for ``status``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.events import emit_event

from meterbridge.ledger import intents
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.records import Key
from meterbridge.staging.database import Staging
from tasks.runs import Run
from tasks.services import Services

EVENT = "meterbridge.bills.closing-soon"
SHOWN = 50

Row = dict[str, Any]


def closings_of(file: Staging) -> dict[Key, float]:
    """When the draft that each portion (bill, subscription) is meant for closes, epoch seconds."""
    return {
        (row["bill_id"], row["subscription_id"]): datetime.fromisoformat(row["closes_at"]).timestamp()
        for row in file.rows("select * from map_deadlines")
    }


def closing_soon(work: Services, run: Run, file: Staging) -> Iterator[Row]:
    """What is waiting, proposed, held or set aside although its draft closes soon, the soonest and dearest first.

    A bill that is set aside whole counts once, with the first of its drafts to close.
    """
    last = datetime.fromtimestamp(run.site.now, UTC) + timedelta(hours=work.settings.close_warning_hours)
    drafts: dict[Key, Row] = {}
    for row in file.rows("select * from map_deadlines order by closes_at desc"):
        if datetime.fromisoformat(row["closes_at"]) <= last:
            drafts[row["bill_id"], row["subscription_id"]] = drafts[(row["bill_id"],)] = row
    held = [*_set_aside(file), *_not_sent(work, run, file)] if drafts else []
    found: dict[Key, Row] = {}
    for key, money in held:
        draft = drafts.get(key[:2])
        if draft is None:
            continue
        row = found.setdefault(key[:2], {**money, "amount": 0, "key": list(key[:2])})
        row["amount"] += money["amount"]
        row |= {"invoice_id": draft["invoice_id"], "closes_at": draft["closes_at"]}
    yield from sorted(found.values(), key=lambda row: (row["closes_at"], -row["amount"]))


def _set_aside(file: Staging) -> Iterator[tuple[Key, Row]]:
    query = "select * from out_set_aside where kind = 'charge' and decision in ('waiting', 'quarantined')"
    for row in file.rows(query):
        yield key_from_text(row["key"]), _money(row, row["decision"], row["code"])


def _not_sent(work: Services, run: Run, file: Staging) -> Iterator[tuple[Key, Row]]:
    """Charges that were decided and are on no draft: proposed, held by another run, refused; in a dry run none."""
    if run.request.dry_run:
        return
    with work.ledger.read() as rx:
        rows = {(row.kind, row.key): row for row in intents.of_run(rx, run.run_id)}
    for decided in file.rows("select kind, key from out_intents where kind in ('charge', 'charge_set')"):
        row = rows.get((decided["kind"], key_from_text(decided["key"])))
        if row is not None and row.state not in ("applied", "superseded", "dismissed"):
            word = {"refused": "quarantined", "proposed": "proposed"}.get(row.state, "held")
            yield row.key, _money({"amount": row.amount, "currency": row.currency}, word, row.error_code)


def _money(row: Mapping[str, Any], state: str, code: str | None) -> Row:
    return {"amount": int(row["amount"] or 0), "currency": row["currency"], "state": state, "code": code or ""}


def announce_closing(run: Run, rows: Sequence[Row]) -> None:
    """Tell whoever listens, in time to do something about it; ids and amounts only."""
    emit_event(
        event=EVENT,
        resource={"prefect.resource.id": f"meterbridge.{run.connection}.{run.flow}"},
        payload={"count": len(rows), "closing_soon": json.loads(json.dumps(list(rows[:SHOWN])))},
    )
