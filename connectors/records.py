"""From a vendor's JSON object to a typed record, or an error that names the record and the gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from meterbridge.errors import OutcomeUnknown, RecordRefused


class WireRecord(BaseModel):
    """Base of what crosses the wire: frozen, and attributes we do not know are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


RecordT = TypeVar("RecordT", bound=WireRecord)


def read_record(model: type[RecordT], raw: object, *, resource: str, record_id: str | None = None) -> RecordT:
    """Type one record.

    Args:
        model: What to make of it.
        raw: The JSON object.
        resource: The vendor's word for it, for the message.
        record_id: Used in the message when the object has no ``id`` itself.

    Raises:
        RecordRefused: MB-RECORD, naming resource, id and fields, never their values.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = raw.get("id") if isinstance(raw, Mapping) else None
        key = str(found or record_id or "without an id")
        gaps = ", ".join(_gap(detail["loc"], detail["type"]) for detail in error.errors(include_input=False)[:5])
        # The cause is cut off: pydantic's text quotes the record's values.
        raise RecordRefused("MB-RECORD", f"{resource} {key}: {gaps}", key=key) from None


def read_written(model: type[RecordT], raw: object, *, resource: str) -> RecordT:
    """Type the record in the answer to a write.

    Raises:
        OutcomeUnknown: It cannot be typed. The write has landed all the same, so calling it
            refused would have it sent again; a probe reads what became of it.
    """
    try:
        return read_record(model, raw, resource=resource)
    except RecordRefused as gap:
        raise OutcomeUnknown("MB-OUTCOME-UNKNOWN", f"the answer to a write: {gap.message}", key=gap.key) from None


def _gap(location: tuple[int | str, ...], kind: str) -> str:
    name = ".".join(str(step) for step in location) or "the record itself"
    return f"{name} is missing" if kind == "missing" else f"{name} has a wrong form ({kind})"


def objects(body: Any, key: str) -> list[dict[str, Any]] | None:
    """The list of objects under ``key`` in a page, or None when the page has no such list."""
    rows = body.get(key) if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return rows
