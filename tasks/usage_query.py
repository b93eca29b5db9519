"""Usage out of a database: the window since the last settled watermark, repeated exactly until it is settled."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from meterbridge.errors import SetupError
from meterbridge.ledger import facts, watermarks
from meterbridge.ledger.ledger import Writer
from meterbridge.staging.usage_proof import prove
from meterbridge.staging.usage_query import WatermarkQuery, spool_query
from meterbridge.usage_mapping import UsageMapping
from tasks.services import Services
from tasks.usage_input import UsageInput, input_of, reading_of


def open_query(work: Services, mapping: UsageMapping, spool: Path, to: str = "m3ter") -> UsageInput:
    """Fetch the window's rows; to Chargebee all rows since the query's start, and no watermark.

    The window is written down before it is read: a run that was killed must be repeated over
    the same rows, or they would be cut into other batches.
    """
    query, url = mapping.query, work.settings.usage_source_url
    assert query is not None
    if url is None:
        raise SetupError("MB-SETTING", "METERBRIDGE_USAGE_SOURCE_URL is not set, and the mapping has a query")
    start = query.start
    if to == "chargebee":
        until = float(int(work.clock.epoch()) - query.hold_back_seconds)
        return replace(_fetched(mapping, url, (start.timestamp(), until), spool, to), until=None)
    with work.ledger.write() as tx:
        mark = watermarks.get(tx, resource(mapping))
        open_window = facts.get(tx, window_name(mapping))
        since = mark.position if mark is not None else start.timestamp()
        until = float(int(work.clock.epoch()) - query.hold_back_seconds)
        if open_window and json.loads(open_window)["since"] == since:
            until = float(json.loads(open_window)["until"])
        until = max(since, until)
        facts.put(tx, window_name(mapping), json.dumps({"since": since, "until": until}))
        tx.commit()
    return _fetched(mapping, url, (since, until), spool, to)


def _fetched(mapping: UsageMapping, url: SecretStr, window: tuple[float, float], spool: Path, to: str) -> UsageInput:
    query = mapping.query
    assert query is not None
    since, until = window
    path = spool.with_name(f"{spool.name}-query.csv")
    order = tuple(part.column for part in mapping.key_parts() if part.column is not None)
    asked = WatermarkQuery(query.sql, query.watermark, order)
    name = f"query of {mapping.name}"
    # The file is of our own writing, whatever the mapping says of files.
    reading = replace(
        reading_of(mapping, "csv", to), delimiter=",", encoding="utf-8", skip_lines=0, decimal=".", thousands=""
    )
    try:
        unmarked = spool_query(url.get_secret_value(), asked, _instant(since), _instant(until), path)
        given = input_of(mapping, name, prove([path], [name], reading, spool))
    finally:
        path.unlink(missing_ok=True)
    return replace(given, until=until, unmarked=unmarked)


def settle_query(tx: Writer, given: UsageInput, run_id: str) -> None:
    """Every row of the window is sent or set aside: the next run reads on from here."""
    if given.until is not None:
        watermarks.advance(tx, resource(given.mapping), given.until, given.mapping.name, run_id)
        facts.put(tx, window_name(given.mapping), "")


def resource(mapping: UsageMapping) -> str:
    """Under what name the watermark is kept."""
    return f"usage:{mapping.name}"


def window_name(mapping: UsageMapping) -> str:
    """Under what name the window is kept that is being read."""
    return f"usage_window:{mapping.name}"


def _instant(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
