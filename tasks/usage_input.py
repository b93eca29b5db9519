"""Where usage comes from: files, globs, standard input; and what the mapping makes of it."""

from __future__ import annotations

import glob
import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meterbridge.errors import SetupError
from meterbridge.rules.usage import AHEAD_SECONDS, UID_DAYS
from meterbridge.staging.usage_shape import (
    FieldShape,
    InputFormat,
    InputShape,
    MeterShape,
    MomentShape,
    UsageShape,
    identifier,
    literal,
)
from meterbridge.usage_mapping import NUMBERS, MeteredItem, Moment, UsageMapping, Value, load_usage_mapping

STDIN = "-"
_ENDINGS: dict[str, InputFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """How a usage run was called. ``mapping`` is a path; ``sources`` are paths, globs or ``-``; ``to`` a vendor."""

    mapping: str
    sources: tuple[str, ...] = ()
    via: str = "auto"
    strict: bool = False
    allow_old: bool = False
    dry_run: bool = False
    to: str = "m3ter"


@dataclass(frozen=True, slots=True)
class UsageInput:
    """One input under one mapping. ``hash`` is of the content and the mapping; the same again is the same input.

    ``spooled`` files were made for this run and hold what the staging file does not need; ``until`` is the
    watermark that the run reaches, for a query, and ``unmarked`` how many of its rows have none.
    """

    mapping: UsageMapping
    name: str
    files: tuple[Path, ...]
    format: InputFormat
    hash: str
    spooled: tuple[Path, ...] = ()
    until: float | None = None
    unmarked: int = 0


def open_mapping(path: str, root: Path) -> UsageMapping:
    """The mapping file; a relative path starts at METERBRIDGE_ROOT if there is nothing in the working directory."""
    here = Path(path).expanduser()
    return load_usage_mapping(here if here.is_absolute() or here.exists() else root / here)


def open_files(mapping: UsageMapping, sources: Sequence[str], spool: Path) -> UsageInput:
    """Resolve the sources in order; standard input is copied to ``spool`` first, for it is read more than once.

    Raises:
        SetupError: MB-USAGE-INPUT, there is no such file, or nothing tells its format.
    """
    files: list[Path] = []
    spooled: list[Path] = []
    for source in sources:
        if source == STDIN:
            path = spool.with_suffix(f".{mapping.format or 'csv'}")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
            spooled.append(path)
            files.append(path)
        else:
            files += _resolved(source)
    if not files:
        raise SetupError("MB-USAGE-INPUT", "no source was named, and the mapping has no query")
    formats = {mapping.format or _format(path) for path in files}
    if len(formats) > 1:
        raise SetupError("MB-USAGE-INPUT", f"the sources have several formats: {', '.join(sorted(formats))}")
    name = ",".join(sources)[:200]
    return UsageInput(mapping, name, tuple(files), formats.pop(), content_hash(mapping, files), tuple(spooled))


def content_hash(mapping: UsageMapping, files: Sequence[Path]) -> str:
    """Hash of what the files hold, in order, and of the mapping; names and places do not count."""
    digest = hashlib.sha256(mapping.fingerprint().encode())
    for path in files:
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:40]


def shape_of(given: UsageInput, now: float, *, allow_old: bool) -> UsageShape:
    """The mapping as staging takes it; ``now`` in epoch seconds."""
    mapping = given.mapping
    meters = tuple(
        MeterShape(
            expression(meter.meter),
            meter.when,
            tuple(
                FieldShape(category, code, expression(value), category in NUMBERS, value.empty == "reject")
                for category, code, value in meter.fields()
            ),
        )
        for meter in mapping.meters
    )
    return UsageShape(
        name=mapping.name,
        source=_source(given),
        account_sql=expression(mapping.account),
        ts=_moment(mapping.ts),
        ets=None if mapping.ets is None else _moment(mapping.ets),
        key_sql=tuple(identifier(column) for column in mapping.key),
        meters=meters,
        oldest=None if allow_old else now - UID_DAYS * 86_400,
        newest=now + AHEAD_SECONDS,
    )


def metered_shape_of(given: UsageInput, metered: MeteredItem, now: float) -> UsageShape:
    """The mapping's ``chargebee`` as staging takes it: item price in the place of meter, subscription of account.

    Chargebee forgets no record, so that no row is too old for it.
    """
    quantity = FieldShape("measure", "quantity", expression(metered.quantity), numeric=True, required=True)
    return UsageShape(
        name=given.mapping.name,
        source=_source(given),
        account_sql=expression(metered.subscription),
        ts=_moment(given.mapping.ts),
        ets=None,
        key_sql=tuple(identifier(column) for column in given.mapping.key),
        meters=(MeterShape(expression(metered.item_price), metered.when, (quantity,)),),
        oldest=None,
        newest=now + AHEAD_SECONDS,
        longest_codes=(100, 50),
    )


def _source(given: UsageInput) -> InputShape:
    mapping = given.mapping
    delimiter = "\t" if given.files[0].name.removesuffix(".gz").endswith(".tsv") else mapping.delimiter
    return InputShape(given.files, given.format, tuple(mapping.column_names()), delimiter, mapping.missing)


def expression(value: Value) -> str:
    """A value as SQL over the input's columns."""
    if value.column is not None:
        return identifier(value.column)
    if value.sql is not None:
        return f"({value.sql})"
    return str(value.constant) if isinstance(value.constant, int) else literal(value.constant)


def _moment(moment: Moment) -> MomentShape:
    return MomentShape(expression(moment), moment.format, moment.timezone)


def _resolved(source: str) -> list[Path]:
    if any(sign in source for sign in "*?["):
        found = sorted(Path(path) for path in glob.glob(source, recursive=True))  # noqa: PTH207 -- may be absolute
        if not found:
            raise SetupError("MB-USAGE-INPUT", f"no file matches {source}")
        return [path.absolute() for path in found]
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise SetupError("MB-USAGE-INPUT", f"{source} is no file")
    return [path]


def _format(path: Path) -> InputFormat:
    name = path.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    found = _ENDINGS.get(Path(name).suffix)
    if found is None:
        raise SetupError("MB-USAGE-INPUT", f"{path.name}: name its format in the mapping (csv, parquet or ndjson)")
    return found
