"""POST /measurements: always accepted when well-formed; what is wrong shows as an event."""

from __future__ import annotations

from decimal import Decimal

from meterbridge.sandbox.clock import parse_rfc3339
from meterbridge.sandbox.m3ter import fields
from meterbridge.sandbox.m3ter.accounts import auto_created
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.m3ter.state import M3terState, Measurement
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_UID_MS = 35 * 86_400_000
_NUMBERS = ("measure", "cost", "income")
_TEXTS = ("who", "what", "where", "other", "metadata")
_FIELDS = frozenset({"uid", "meter", "account", "ts", "ets", *_NUMBERS, *_TEXTS})


@routes.post("/measurements")
def submit(call: Call) -> Row:
    rows = call.body.get("measurements") if isinstance(call.body, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= 1000:
        raise refusal(400, "measurements: must be a list of 1 to 1000")
    for position, row in enumerate(rows):
        wrong = complaint(row, lenient=call.world.switches.lenient)
        if wrong:
            raise refusal(400, f"measurements[{position}].{wrong}")
    take(call.state, rows)
    return {"result": "accepted"}


def take(state: M3terState, rows: list[Row]) -> int:
    """Ingest well-formed measurements; each that fails shows as an event, all of one call share a file."""
    file = f"failed-{len(state.failed_files) + 1}.json"
    link = f"/measurements/failedIngest/getDownloadUrl?file={file}"
    failed: list[Row] = []
    for row in rows:
        failure = ingest(state, row)
        if failure:
            failed.append({"error": failure, "type": failure, "measurement": row})
            content = {"id": row.get("uid", ""), "type": failure, "measurement": row}
            state.emit("ingest.validation.failure", content | {"getDownloadUrl": link})
    if failed:
        state.failed_files[file] = failed
    return len(failed)


def complaint(row: object, *, lenient: bool) -> str | None:
    """What is wrong with the form of a measurement; None for a sound one."""
    if not isinstance(row, dict):
        return "must be an object"
    for name in ("meter", "account", "ts"):
        if not isinstance(row.get(name), str) or not row[name]:
            return f"{name}: must not be empty"
    if fields.moment(row["ts"]):
        return "ts: must be a date-time"
    if len(row.get("uid", "")) > 50:
        return "uid: must be at most 50 characters"
    unknown = set(row) - _FIELDS
    if unknown and not lenient:
        return f"{sorted(unknown)[0]}: the sandbox does not know this field of a measurement"
    return None


def ingest(state: M3terState, row: Row) -> str | None:
    """Store one measurement; returns the type of the failure when it was not ingested."""
    meters = state.meters.find("code", row["meter"])
    if not meters:
        return "UndefinedMeter"
    measures = {name: Decimal(value) for part in _NUMBERS for name, value in row.get(part, {}).items()}
    texts = {name: str(value) for part in _TEXTS for name, value in row.get(part, {}).items()}
    if set(measures) & set(texts):
        return "DuplicateField"
    if not any(each["code"] in measures or each["code"] in texts for each in meters[0]["dataFields"]):
        return "MissingField"
    uid, now = row.get("uid"), state.clock.now_ms()
    if uid is not None and state.usage.uids.get(uid, 0) > now:
        return "DuplicateUid"
    account_id = _account_id(state, row["account"])
    if account_id is None:
        return "InvalidAccountCode"
    if uid is not None:
        state.usage.uids[uid] = now + _UID_MS
    measurement = Measurement(parse_rfc3339(row["ts"]), measures, texts)
    state.usage.rows.setdefault((account_id, row["meter"]), []).append(measurement)
    return None


def _account_id(state: M3terState, code: str) -> str | None:
    """None for a code that is near to an existing one; an unknown code makes an account."""
    exact = state.accounts.find("code", code)
    if exact:
        return str(exact[0]["id"])
    if code.casefold() in state.account_ids_by_folded_code:
        return None
    return str(auto_created(state, code)["id"])
