"""The SQL that a usage mapping stands for: one statement a meter lands its checked rows in ``stg_usage``.

Each row keeps its first reason against it (NULL: it may go) and the offending value. The values of its fields are
landed as JSON; the rest of the measurement is put around them when it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from meterbridge.staging.usage_moments import Case, MomentSql
from meterbridge.staging.usage_numbers import number_text
from meterbridge.staging.usage_relation import whole_row
from meterbridge.staging.usage_shape import BROKEN, DOUBLED, ROW, FieldShape, MeterShape, Try, UsageShape, literal
from meterbridge.staging.usage_tries import sources, tries_of

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

_FORMAT = "%Y-%m-%dT%H:%M:%S.%gZ"

BODY = (
    f"""concat(',{{"uid":"', uid, '","meter":', to_json(meter)::VARCHAR, ',"account":', to_json(account)::VARCHAR, """
    f"""',"ts":"', strftime(ts, '{_FORMAT}'), '"', ',"ets":"' || strftime(ets, '{_FORMAT}') || '"', fields, '}}')"""
)
"""A row of ``stg_usage`` as the JSON that is sent, a comma before it: rows in turn are a body but for its first
character. One ``concat``, which passes over NULL; a chain of ``||``, or a ``case``, takes half as long again."""


def land_meter(shape: UsageShape, place: int, zones: Sequence[str]) -> str:
    """The statement that lands one meter's rows; ``place`` counts from 0 and orders those that share a source row.

    ``zones`` are the names of time zones that a row may say.
    """
    meter = shape.meters[place]
    tries = tries_of(shape, meter)
    doubled = f'"{DOUBLED}"' if shape.source.format == "ndjson" else "NULL::VARCHAR"
    chosen = [f'"{BROKEN}"', f"{doubled} is not null", f"{meter.when}"]
    chosen += [one.failed for one in tries if one.value == meter.when]
    where = f"where {' or '.join(chosen)}" if meter.when else ""
    moments = _moments(shape, zones)
    columns = [
        f'"{ROW}" as source_row',
        f'"{BROKEN}" as unreadable',
        f"{doubled} as doubled",
        f"{meter.meter_sql} as meter",
    ]
    columns.append(f"trim(cast({shape.account_sql} as VARCHAR)) as account")
    columns += [column for moment in moments for column in moment.raw()]
    columns += [f"cast({sql} as VARCHAR) as k{n}" for n, sql in enumerate(_key(shape))]
    columns += [f"{field.sql} as f{n}" for n, field in enumerate(meter.fields)]
    columns += [f"{one.failed} as e{n}" for n, one in enumerate(tries)]
    last = [moment.instant() for moment in moments] + ([] if shape.ets else ["NULL::TIMESTAMP as ets"])
    last += [f"{_number(shape, n)} as n{n}" for n, field in enumerate(meter.fields) if _is_text_number(field)]
    found = f"select {', '.join(columns)} from tried as source {where}"
    for step in (MomentSql.read, MomentSql.offsets, MomentSql.instants, MomentSql.choices):
        if made := [column for moment in moments for column in step(moment)]:
            found = f"select *, {', '.join(made)} from ({found})"
    return f"""
insert into stg_usage
{sources(shape.source, tries)},
typed as (select *, {", ".join(last)}, {_uid(shape)} as uid from ({found})),
judged as (select *, {_judgement(shape, meter, moments, tries)} as verdict from typed)
select
    (source_row - 1) * {len(shape.meters)} + {place}, source_row, cast(meter as VARCHAR), account,
    ts, ets, uid, hash(uid), case when verdict is null then {_fields(meter)} end,
    verdict.reason, left(verdict.subject, 200)
from judged"""


def _moments(shape: UsageShape, zones: Sequence[str]) -> list[MomentSql]:
    found = [MomentSql("ts", shape.ts, shape.source, zones)]
    return [*found, MomentSql("ets", shape.ets, shape.source, zones)] if shape.ets else found


def _key(shape: UsageShape) -> tuple[str, ...]:
    """SQL of each part of the key; of a row that is known by all of it, a hash."""
    return shape.key_sql or (f"sha256({whole_row(shape.source)})",)


def _is_text_number(field: FieldShape) -> bool:
    return field.numeric and not field.native


def _number(shape: UsageShape, place: int) -> str:
    return number_text(f"trim(cast(f{place} as VARCHAR))", shape.source.decimal, shape.source.thousands)


def _uid(shape: UsageShape) -> str:
    """40 hex digits of SHA-256 over length-prefixed parts, as ``rules.usage.uid`` says it."""
    parts = [literal(shape.name), "cast(meter as VARCHAR)", "account", *(f"k{n}" for n in range(len(_key(shape))))]
    joined = ", ".join(f"strlen({part}), ':', {part}" for part in parts)
    return f"left(sha256(concat({joined})), 40)"


def _judgement(shape: UsageShape, meter: MeterShape, moments: Sequence[MomentSql], tries: Sequence[Try]) -> str:
    """The first reason against a row, with the value that gave it; NULL for a sound one."""
    cases = [("unreadable", "unreadable_line", "NULL"), ("doubled is not null", "name_twice", "doubled")]
    cases += [(f"e{n}", "sql_failed", literal(one.sql[1:-1].strip())) for n, one in enumerate(tries)]
    cases += _code_cases("meter", shape.longest_codes[0]) + _code_cases("account", shape.longest_codes[1])
    written = {one.value: one.sql for one in tries}
    named = [written.get(sql, sql) for sql in shape.key_sql]
    cases += [(f"coalesce(k{n}, '') = ''", "key_missing", literal(sql)) for n, sql in enumerate(named)]
    cases += _moment_cases(shape, moments)
    for place, field in enumerate(meter.fields):
        cases += _field_cases(place, field)
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


def _code_cases(name: str, longest: int) -> list[Case]:
    return [
        (f"coalesce(trim(cast({name} as VARCHAR)), '') = ''", f"{name}_missing", "NULL"),
        (f"length(cast({name} as VARCHAR)) > {longest}", f"{name}_too_long", name),
        (f"regexp_matches(cast({name} as VARCHAR), '[[:cntrl:]]')", f"{name}_unprintable", name),
    ]


def _moment_cases(shape: UsageShape, moments: Sequence[MomentSql]) -> list[Case]:
    empty = "ts_raw is null" if shape.ts.native else "coalesce(trim(cast(ts_raw as VARCHAR)), '') = ''"
    cases = [(empty, "ts_missing", "NULL"), *moments[0].cases()]
    if shape.oldest is not None:
        cases.append((f"epoch(ts) < {shape.oldest!r}", "ts_old", "ts_raw"))
    cases.append((f"epoch(ts) > {shape.newest!r}", "ts_future", "ts_raw"))
    if shape.ets is not None:
        present = "coalesce(trim(cast(ets_raw as VARCHAR)), '') <> ''"
        cases += [(f"{present} and ({test})", reason, shown) for test, reason, shown in moments[1].cases()]
        cases.append((f"{present} and ets < ts", "ets_before_ts", "ets_raw"))
    return cases


def _field_cases(place: int, field: FieldShape) -> list[Case]:
    column = f"f{place}"
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
    cases.append((f"{present} and n{place} is null", "number_unreadable", shown))
    cases.append(
        (f"{present} and not isfinite(coalesce(try_cast(n{place} as DOUBLE), 'inf'))", "number_too_large", shown)
    )
    return cases


def _fields(meter: MeterShape) -> str:
    """The JSON of all categories, each beginning with a comma; an empty category is left out."""
    parts = []
    for category in dict.fromkeys(field.category for field in meter.fields):
        fields = [(place, field) for place, field in enumerate(meter.fields) if field.category == category]
        pairs = [_pair(place, field) for place, field in fields]
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


def _pair(place: int, field: FieldShape) -> str:
    """``"code":value``; NULL for an empty value that may be left out."""
    column = f"f{place}"
    text = column if field.native else f"trim(cast({column} as VARCHAR))"
    number = column if field.native else f"n{place}"
    value = number if field.numeric else f"to_json(cast({column} as VARCHAR))::VARCHAR"
    pair = f"concat({literal(_quoted(field.code) + ':')}, {value})"
    if field.required:
        return pair
    there = f"{column} is not null" if field.native else f"{text} <> ''"
    return f"case when {there} then {pair} end"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
