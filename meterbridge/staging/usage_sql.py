"""The SQL that a usage mapping stands for: one statement a meter lands its checked rows in ``stg_usage``.

Each row keeps its first reason against it (NULL: it may go) and the offending value. The values of its fields are
landed as JSON; the rest of the measurement is put around them when it is sent.
"""

from __future__ import annotations

from pathlib import Path

from meterbridge.staging.usage_shape import FieldShape, InputShape, MeterShape, MomentShape, UsageShape, literal

CREATE_USAGE = """
create or replace table stg_usage (
    number BIGINT, source_row BIGINT, meter VARCHAR, account VARCHAR, ts TIMESTAMP, ets TIMESTAMP,
    uid VARCHAR, twin UBIGINT, fields VARCHAR, reason VARCHAR, subject VARCHAR
)"""

TEXT_LENGTH = 256
"""m3ter documents it for metadata; segmenting by longer texts helps nobody, so that it holds for all texts."""

NUMBER_LENGTH = 256
"""m3ter holds doubles, which need 25 digits; a text of more than this is no number of anybody's."""

FIELDS_BYTES = 500_000
"""With uid, codes and timestamps around them, such fields fill m3ter's largest request alone."""

_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_FORMAT = "%Y-%m-%dT%H:%M:%S.%gZ"

BODY = (
    f"""concat(',{{"uid":"', uid, '","meter":', to_json(meter)::VARCHAR, ',"account":', to_json(account)::VARCHAR, """
    f"""',"ts":"', strftime(ts, '{_FORMAT}'), '"', ',"ets":"' || strftime(ets, '{_FORMAT}') || '"', fields, '}}')"""
)
"""A row of ``stg_usage`` as the JSON that is sent, a comma before it: rows in turn are a body but for its first
character. One ``concat``, which passes over NULL; a chain of ``||``, or a ``case``, takes half as long again."""


def relation(source: InputShape) -> str:
    """A query over the input: its columns, ``source_row`` from 1, and ``unreadable`` for a broken line."""
    files = "[" + ", ".join(literal(path) for path in source.files) + "]"
    if source.format == "parquet":
        if len(source.files) == 1:
            return (
                f"select file_row_number + 1 as source_row, false as unreadable, * exclude (file_row_number) "
                f"from read_parquet({files}, file_row_number = true)"
            )
        return (
            f"select row_number() over () as source_row, false as unreadable, * "
            f"from read_parquet({files}, union_by_name = true)"
        )
    if source.format == "csv":
        # By name, file by file: the reader's own union cannot tell which lines it could not read.
        parts = " union all by name ".join(f"select * from {_csv(path, source)}" for path in source.files)
        return f"select row_number() over () as source_row, false as unreadable, * from ({parts})"
    shape = "{" + ", ".join(f'"{_json_name(name)}":"VARCHAR"' for name in source.columns) + "}"
    return (
        f"select source_row, unreadable, unnest(json_transform(case when unreadable then '{{}}' else line end, "
        f"{literal(shape)})) from (select row_number() over () as source_row, "
        f"coalesce(not json_valid(line), false) or not starts_with(ltrim(line), '{{') as unreadable, line "
        f"from read_csv({files}, columns = {{'line': 'VARCHAR'}}, delim = chr(1), quote = '', escape = '', "
        f"header = false, auto_detect = false, max_line_size = 4194304)) where line is not null"
    )


def land_meter(shape: UsageShape, place: int) -> str:
    """The statement that lands one meter's rows; ``place`` counts from 0 and orders those that share a source row."""
    meter = shape.meters[place]
    where = f"where unreadable or ({meter.when})" if meter.when else ""
    raw = [f"{field.sql} as f{n}" for n, field in enumerate(meter.fields)]
    keys = [f"cast({sql} as VARCHAR) as k{n}" for n, sql in enumerate(shape.key_sql)]
    ets = f"{shape.ets.sql} as ets_raw" if shape.ets else "NULL as ets_raw"
    ended = _instant("ets_raw", shape.ets) if shape.ets else "NULL::TIMESTAMP"
    return f"""
insert into stg_usage
with source as ({relation(shape.source)}),
raw as (
    select source_row, unreadable, {meter.meter_sql} as meter, trim(cast({shape.account_sql} as VARCHAR)) as account,
        {shape.ts.sql} as ts_raw, {ets}, {", ".join([*keys, *raw])}
    from source {where}
),
typed as (
    select *, {_instant("ts_raw", shape.ts)} as ts, {ended} as ets,
        {_uid(shape)} as uid
    from raw
),
judged as (select *, {_judgement(shape, meter)} as verdict from typed)
select
    (source_row - 1) * {len(shape.meters)} + {place}, source_row, cast(meter as VARCHAR), account,
    ts, ets, uid, hash(uid), case when verdict is null then {_fields(meter)} end,
    verdict.reason, left(verdict.subject, 200)
from judged"""


def _csv(path: Path, source: InputShape) -> str:
    empty = ", ".join(literal(text) for text in ("", *source.missing))
    return (
        f"read_csv({literal(path)}, header = true, delim = {literal(source.delimiter)}, quote = '\"', escape = '\"', "
        f"nullstr = [{empty}], all_varchar = true, ignore_errors = true, store_rejects = true, rejects_limit = 0)"
    )


def _json_name(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _instant(column: str, moment: MomentShape) -> str:
    """UTC TIMESTAMP, NULL where it cannot be read, or where the zone skipped that hour."""
    if moment.native:
        if "WITH TIME ZONE" in moment.native:
            return f"timezone('UTC', {column})"
        given = f"cast({column} as TIMESTAMP)"
        return given if moment.timezone == "UTC" else _in_zone(given, moment.timezone)
    text = f"nullif(trim(cast({column} as VARCHAR)), '')"
    if moment.format == "epoch_seconds":
        return f"make_timestamp(try_cast(try_cast({text} as DECIMAL(38, 6)) * 1000000 as BIGINT))"
    if moment.format == "epoch_ms":
        return f"make_timestamp(try_cast(try_cast({text} as DECIMAL(38, 3)) * 1000 as BIGINT))"
    local = f"try_strptime({text}, {literal(moment.format)})" if moment.format else f"try_cast({text} as TIMESTAMP)"
    if moment.format and "%z" in moment.format:
        return f"timezone('UTC', {local}::TIMESTAMPTZ)"
    zoned = local if moment.timezone == "UTC" else _in_zone(local, moment.timezone)
    if moment.format:
        return zoned
    # A text with a zone of its own keeps it; one without is local.
    own_zone = rf"regexp_matches({text}, '([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') and contains({text}, ':')"
    return f"case when {own_zone} then timezone('UTC', try_cast({text} as TIMESTAMPTZ)) else {zoned} end"


def _in_zone(local: str, zone: str) -> str:
    instant = f"timezone({literal(zone)}, {local})"
    return f"case when timezone({literal(zone)}, {instant}) = {local} then timezone('UTC', {instant}) end"


def _uid(shape: UsageShape) -> str:
    """40 hex digits of SHA-256 over length-prefixed parts, as ``rules.usage.uid`` says it."""
    parts = [literal(shape.name), "cast(meter as VARCHAR)", "account", *(f"k{n}" for n in range(len(shape.key_sql)))]
    joined = ", ".join(f"strlen({part}), ':', {part}" for part in parts)
    return f"left(sha256(concat({joined})), 40)"


def _judgement(shape: UsageShape, meter: MeterShape) -> str:
    """The first reason against a row, with the value that gave it; NULL for a sound one."""
    cases = [("unreadable", "unreadable_line", "NULL")]
    cases += _code_cases("meter", shape.longest_codes[0]) + _code_cases("account", shape.longest_codes[1])
    cases += [(f"coalesce(k{n}, '') = ''", "key_missing", literal(sql)) for n, sql in enumerate(shape.key_sql)]
    cases += _moment_cases(shape)
    for place, field in enumerate(meter.fields):
        cases += _field_cases(f"f{place}", field)
    if not any(field.required for field in meter.fields):
        empty = " and ".join(f"coalesce(trim(cast(f{n} as VARCHAR)), '') = ''" for n in range(len(meter.fields)))
        cases.append((empty, "fields_missing", "NULL"))
    if sum(6 * TEXT_LENGTH + len(field.code) for field in meter.fields) > FIELDS_BYTES:
        cases.append((f"strlen({_fields(meter)}) > {FIELDS_BYTES}", "too_large", "NULL"))
    chain = " ".join(
        f"when {test} then {{'reason': {literal(reason)}, 'subject': cast({subject} as VARCHAR)}}"
        for test, reason, subject in cases
    )
    return f"case {chain} end"


def _code_cases(name: str, longest: int) -> list[tuple[str, str, str]]:
    return [
        (f"coalesce(trim(cast({name} as VARCHAR)), '') = ''", f"{name}_missing", "NULL"),
        (f"length(cast({name} as VARCHAR)) > {longest}", f"{name}_too_long", name),
        (f"regexp_matches(cast({name} as VARCHAR), '[[:cntrl:]]')", f"{name}_unprintable", name),
    ]


def _moment_cases(shape: UsageShape) -> list[tuple[str, str, str]]:
    empty = "ts_raw is null" if shape.ts.native else "coalesce(trim(cast(ts_raw as VARCHAR)), '') = ''"
    cases = [(empty, "ts_missing", "NULL")]
    cases += _gap_case("ts", shape.ts)
    cases.append(("ts is null or not isfinite(ts)", "ts_unreadable", "ts_raw"))
    if shape.oldest is not None:
        cases.append((f"epoch(ts) < {shape.oldest!r}", "ts_old", "ts_raw"))
    cases.append((f"epoch(ts) > {shape.newest!r}", "ts_future", "ts_raw"))
    if shape.ets is not None:
        cases += _gap_case("ets", shape.ets)
        present = "coalesce(trim(cast(ets_raw as VARCHAR)), '') <> ''"
        cases.append((f"{present} and (ets is null or not isfinite(ets))", "ets_unreadable", "ets_raw"))
        cases.append((f"{present} and ets < ts", "ets_before_ts", "ets_raw"))
    return cases


def _gap_case(name: str, moment: MomentShape) -> list[tuple[str, str, str]]:
    """A local time that its zone skipped (clocks going forward) is another mistake than an unreadable text."""
    text = f"nullif(trim(cast({name}_raw as VARCHAR)), '')"
    if moment.timezone == "UTC" or (moment.format or "").startswith("epoch"):
        return []
    format_ = None if moment.native else moment.format
    local = f"try_strptime({text}, {literal(format_)})" if format_ else f"try_cast({text} as TIMESTAMP)"
    return [(f"{name} is null and {local} is not null", f"{name}_not_in_zone", f"{name}_raw")]


def _field_cases(column: str, field: FieldShape) -> list[tuple[str, str, str]]:
    text = f"trim(cast({column} as VARCHAR))"
    shown = f"{literal(field.code + '=')} || left({text}, 60)"
    cases = []
    if field.required:
        cases.append((f"coalesce({text}, '') = ''", "field_missing", literal(field.code)))
    if field.native and field.required:
        cases = [(f"{column} is null", "field_missing", literal(field.code))]
    if not field.numeric:
        return [*cases, (f"length(cast({column} as VARCHAR)) > {TEXT_LENGTH}", "text_too_long", shown)]
    present = f"coalesce({text}, '') <> ''"
    if field.native:
        exact = not field.native.startswith(("DOUBLE", "FLOAT"))
        return cases if exact else [*cases, (f"not isfinite({column})", "number_not_finite", shown)]
    infinite = f"regexp_matches(lower({text}), '^[+-]?(nan|inf|infinity)$')"
    cases.append((f"strlen({text}) > {NUMBER_LENGTH}", "number_too_large", shown))
    cases.append((f"{present} and {infinite}", "number_not_finite", shown))
    cases.append((f"{present} and not regexp_matches({text}, '{_NUMBER}')", "number_unreadable", shown))
    cases.append(
        (f"{present} and not isfinite(coalesce(try_cast({text} as DOUBLE), 'inf'))", "number_too_large", shown)
    )
    return cases


def _fields(meter: MeterShape) -> str:
    """The JSON of all categories, each beginning with a comma; an empty category is left out."""
    parts = []
    for category in dict.fromkeys(field.category for field in meter.fields):
        fields = [(place, field) for place, field in enumerate(meter.fields) if field.category == category]
        pairs = [_pair(f"f{place}", field) for place, field in fields]
        opening = literal(f',"{category}":{{')
        if all(field.required for _, field in fields):
            between = ", ',', ".join(pairs)
            parts.append(f"{opening}, {between}, '}}'")
        elif any(field.required for _, field in fields):
            parts.append(f"{opening}, concat_ws(',', {', '.join(pairs)}), '}}'")
        else:
            joined = f"concat_ws(',', {', '.join(pairs)})"
            parts.append(f"case when {joined} <> '' then concat({opening}, {joined}, '}}') end")
    return f"concat({', '.join(parts)})"


def _pair(column: str, field: FieldShape) -> str:
    """``"code":value``; NULL for an empty value that may be left out."""
    text = column if field.native else f"trim(cast({column} as VARCHAR))"
    value = text if field.numeric else f"to_json(cast({column} as VARCHAR))::VARCHAR"
    pair = f"concat({literal(_quoted(field.code) + ':')}, {value})"
    if field.required:
        return pair
    there = f"{column} is not null" if field.native else f"{text} <> ''"
    return f"case when {there} then {pair} end"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
