"""Where usage comes from: files, globs, standard input; and what the mapping makes of it."""

from __future__ import annotations

import errno
import glob
import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meterbridge.errors import RetriableError, SetupError
from meterbridge.rules.usage import AHEAD_SECONDS, UID_DAYS
from meterbridge.staging.usage_copy import LineCount
from meterbridge.staging.usage_names import kind_of
from meterbridge.staging.usage_proof import Proof, prove
from meterbridge.staging.usage_shape import (
    FieldShape,
    InputFormat,
    InputShape,
    MeterShape,
    MomentShape,
    Reading,
    UsageShape,
    by_hand,
    identifier,
    literal,
)
from meterbridge.usage_mapping import (
    NUMBERS,
    KeyPart,
    MeteredItem,
    Moment,
    UsageMapping,
    Value,
    load_usage_mapping,
)

STDIN = "-"
READING = "2"
"""Part of an input's hash: another number says that rows are counted otherwise, so that none is taken for another."""

_FILE_THERE = "Name a file that is there and may be read; nothing was sent."
_FORMAT_NAMED = "Name its format in the mapping: csv, parquet or ndjson."


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
    expect_rows: int = 0


@dataclass(frozen=True, slots=True)
class UsageInput:
    """One input under one mapping. ``hash`` is of the content and the mapping; the same again is the same input.

    ``spooled`` files were made for this run and hold what the staging file does not need; ``bare`` are the names of
    files without a row; ``lines`` is None where an input has none. ``until`` is the watermark that the run
    reaches, for a query, and ``unmarked`` how many of its rows have none.
    """

    mapping: UsageMapping
    name: str
    source: InputShape
    hash: str
    spooled: tuple[Path, ...] = ()
    bare: tuple[str, ...] = ()
    lines: LineCount | None = None
    until: float | None = None
    unmarked: int = 0

    def forget(self) -> None:
        """Take away what was made for the run."""
        for path in self.spooled:
            path.unlink(missing_ok=True)


def open_mapping(path: str, root: Path) -> UsageMapping:
    """The mapping file; a relative path starts at METERBRIDGE_ROOT if there is nothing in the working directory."""
    here = Path(path).expanduser()
    return load_usage_mapping(here if here.is_absolute() or here.exists() else root / here)


def open_files(mapping: UsageMapping, sources: Sequence[str], spool: Path, to: str = "m3ter") -> UsageInput:
    """Resolve the sources in order, and prove each whole; standard input is copied to ``spool`` first.

    Raises:
        SetupError: MB-USAGE-INPUT, there is no such file, it is not whole, or nothing tells its format.
    """
    files: list[Path] = []
    piped = spool.with_name(f"{spool.name}-stdin")
    try:
        for source in sources:
            files += [_piped(piped)] if source == STDIN else _resolved(source)
        if not files:
            words = "no source was named, and the mapping has no query"
            raise SetupError("MB-USAGE-INPUT", words, remedy="Name files, globs, or - for standard input.")
        formats = sorted({_format(path, mapping, piped) for path in files})
        if len(formats) > 1:
            words = f"the sources have several formats: {', '.join(formats)}"
            raise SetupError("MB-USAGE-INPUT", words, remedy="Send each format by itself, or name one in the mapping.")
        names = ["standard input" if path == piped else name for path, name in zip(files, _names(files), strict=True)]
        proof = prove(files, names, reading_of(mapping, formats[0], to), spool)
    except BaseException:
        piped.unlink(missing_ok=True)
        raise
    keep = proof.source.format == "parquet"
    if not keep:
        piped.unlink(missing_ok=True)
    return input_of(mapping, ",".join(sources)[:200], proof, (piped,) if keep and piped in files else ())


def input_of(mapping: UsageMapping, name: str, proof: Proof, spooled: tuple[Path, ...] = ()) -> UsageInput:
    """What was proven, as an input under the mapping."""
    hashed = _content_hash(mapping, proof.digests)
    return UsageInput(
        mapping, name, proof.source, hashed, (*spooled, *proof.made), tuple(proof.bare), lines=proof.count
    )


def reading_of(mapping: UsageMapping, format_: InputFormat, to: str) -> Reading:
    """How the mapping says that files are read."""
    return Reading(
        format=format_,
        columns=tuple(mapping.column_names()),
        needed=tuple(mapping.needed_columns(to)),
        bound=tuple(mapping.bound_columns(to)),
        mentions=tuple(mapping.expressions()),
        delimiter=mapping.delimiter,
        encoding=mapping.encoding,
        skip_lines=mapping.skip_lines,
        missing=mapping.missing,
        decimal=mapping.decimal,
        thousands=mapping.thousands,
    )


def _content_hash(mapping: UsageMapping, digests: Sequence[bytes]) -> str:
    """Hash of what the files hold, in order, and of the mapping; names and places do not count."""
    return hashlib.sha256(b"".join([f"{READING}{mapping.fingerprint()}".encode(), *digests])).hexdigest()[:40]


def _piped(path: Path) -> Path:
    """Standard input, as a file: its first lines are read twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    try:
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RetriableError(
                "MB-UNAVAILABLE", f"the copy of the input: Could not write file: {failure.strerror}"
            ) from failure
        raise SetupError("MB-USAGE-INPUT", f"standard input: {failure.strerror}", remedy=_FILE_THERE) from failure
    return path


def _names(files: Sequence[Path]) -> list[str]:
    """What people call the files: their names, or whole paths where names are the same."""
    names = [path.name for path in files]
    return names if len(set(names)) == len(names) else [str(path) for path in files]


def shape_of(given: UsageInput, now: float, *, allow_old: bool) -> UsageShape:
    """The mapping as staging takes it; ``now`` in epoch seconds."""
    mapping = given.mapping
    meters = tuple(
        MeterShape(
            expression(meter.meter),
            meter.when and by_hand(meter.when),
            tuple(
                FieldShape(category, code, expression(value), category in NUMBERS, value.empty == "reject")
                for category, code, value in meter.fields()
            ),
        )
        for meter in mapping.meters
    )
    return UsageShape(
        name=mapping.name,
        source=given.source,
        account_sql=expression(mapping.account),
        ts=_moment(mapping.ts),
        ets=None if mapping.ets is None else _moment(mapping.ets),
        key_sql=tuple(expression(part) for part in mapping.key_parts()),
        meters=meters,
        oldest=None if allow_old else now - UID_DAYS * 86_400,
        newest=now + AHEAD_SECONDS,
        expressions=tuple(mapping.expressions()),
    )


def metered_shape_of(given: UsageInput, metered: MeteredItem, now: float) -> UsageShape:
    """The mapping's ``chargebee`` as staging takes it: item price in the place of meter, subscription of account.

    Chargebee forgets no record, so that no row is too old for it.
    """
    quantity = FieldShape("measure", "quantity", expression(metered.quantity), numeric=True, required=True)
    return UsageShape(
        name=given.mapping.name,
        source=given.source,
        account_sql=expression(metered.subscription),
        ts=_moment(given.mapping.ts),
        ets=None,
        key_sql=tuple(expression(part) for part in given.mapping.key_parts()),
        meters=(MeterShape(expression(metered.item_price), metered.when and by_hand(metered.when), (quantity,)),),
        oldest=None,
        newest=now + AHEAD_SECONDS,
        longest_codes=(100, 50),
        expressions=tuple(given.mapping.expressions()),
    )


def expression(value: Value | KeyPart) -> str:
    """A value as SQL over the input's columns."""
    if value.column is not None:
        return identifier(value.column)
    if value.sql is not None:
        return by_hand(value.sql)
    constant = value.constant if isinstance(value, Value) else None
    return str(constant) if isinstance(constant, int) else literal(constant)


def _moment(moment: Moment) -> MomentShape:
    zone = moment.timezone
    if isinstance(zone, str):
        return MomentShape(expression(moment), moment.format, zone, ambiguous=moment.ambiguous)
    return MomentShape(expression(moment), moment.format, "UTC", "", expression(zone), moment.ambiguous)


def _resolved(source: str) -> list[Path]:
    path = Path(source).expanduser().absolute()
    if path.is_file():
        return [path]
    if any(sign in source for sign in "*?["):
        found = sorted(Path(path) for path in glob.glob(str(path), recursive=True))  # noqa: PTH207 -- is absolute
        if files := [path for path in found if path.is_file()]:
            return files
        raise SetupError("MB-USAGE-INPUT", f"no file matches {source}", remedy=_FILE_THERE)
    if not source:
        raise SetupError("MB-USAGE-INPUT", "the name of a source is empty", remedy=_FILE_THERE)
    if path.exists() and not path.is_dir():
        words = f"{source} is a pipe or a device, and a file is read twice"
        raise SetupError("MB-USAGE-INPUT", words, remedy="Feed it to standard input, and name - as the source.")
    words = f"{source} is a directory" if path.is_dir() else f"there is no file {source}"
    raise SetupError("MB-USAGE-INPUT", words, remedy=_FILE_THERE)


def _format(path: Path, mapping: UsageMapping, piped: Path) -> InputFormat:
    kind = kind_of(path.name)
    if kind.foreign:
        words = f"{path.name} is packed as {kind.foreign}, which is not read"
        raise SetupError("MB-USAGE-INPUT", words, remedy="Unpack it, or pack it as .gz or .zst.")
    found = mapping.format or ("csv" if path == piped else kind.format)
    if found is None:
        raise SetupError("MB-USAGE-INPUT", f"{path.name}: nothing tells its format", remedy=_FORMAT_NAMED)
    if found == "parquet" and kind.packed:
        raise SetupError("MB-USAGE-INPUT", f"{path.name}: a Parquet file is packed inside", remedy="Unpack it.")
    return found
