"""The SQL that makes an instant of what a row says, in two steps: the local time and its zone, then the instants.

The mapping decides what a text means. No cast of the database's reads a text that a grammar here did not match first,
for such casts take half a text and pass over the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from meterbridge.staging.usage_numbers import number_text
from meterbridge.staging.usage_shape import InputShape, MomentShape, literal

Case = tuple[str, str, str]
"""(SQL condition, reason, SQL of what is shown)."""

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
_ZONE = "[zZ]|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?|[A-Za-z][A-Za-z0-9_+/-]*"
_ISO = f"^({_DATE}(?:[Tt ]{_TIME})?)(?: ?({_ZONE}))?$"
_OFFSET = "^[+-](0[0-9]|1[0-5])(:?[0-5][0-9](:?[0-5][0-9])?)?$"
_OFFSET_FORM = "[+-][0-9:]+|[A-Za-z][A-Za-z0-9_+/-]*"

FIXED_ZONES = {
    "UTC": 0, "GMT": 0, "EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8,
}  # fmt: skip
"""Hours from UTC of the abbreviations that RFC 5322 knows; no other means one thing everywhere."""

_EPOCHS = {"epoch_seconds": (12, 6), "epoch_ms": (15, 3), "epoch_us": (18, 0), "epoch_ns": (21, -3)}
"""Digits before the point at most, and the power of ten that makes microseconds."""

_EXCEL = {"excel": ("1899-12-30", 61), "excel_1904": ("1904-01-01", 0)}
"""Day zero, and the first serial number that means what it says: Excel has a 29th of February 1900."""

_LAST_SERIAL = 2_958_466

_YEARS = "timestamp '0001-01-01' and timestamp '9999-12-31 23:59:59.999999'"
"""The range of a native date or timestamp: its types reach so far that a day more has no place in them."""

_NAMES = frozenset("aAbBhp")
_FREE = frozenset("cxX")
_WEEKS, _YEARS_OF_WEEKS = frozenset("UWV"), frozenset("YyG")
_AGAIN = frozenset("aA")
"""Directives that say of a whole date what it says already."""


class MomentSql:
    """One point in time of a row, ``ts`` or ``ets``: SQL for each step of the way from ``<name>_raw``.

    ``zones`` are the names of time zones that a row may say beside the mapping's own.
    """

    def __init__(self, name: str, shape: MomentShape, source: InputShape, zones: Sequence[str]) -> None:
        self._name = name
        self._shape = shape
        self._source = source
        self._zones = [*zones, shape.timezone]
        self._zone = self._fixed_zone()

    def raw(self) -> list[str]:
        """Columns of the first step: what the row has."""
        zone = f"trim(cast({self._shape.zone_sql} as VARCHAR))" if self._shape.zone_sql else "NULL::VARCHAR"
        return [f"{self._shape.sql} as {self._name}_raw", f"{zone} as {self._name}_tz"]

    def read(self) -> list[str]:
        """Columns of the second step: the local time (TIMESTAMP, NULL if it cannot be read), and its zone's name."""
        local, zone = self._local()
        return [f"{local} as {self._name}_local", f"{zone} as {self._name}_zone"]

    def offsets(self) -> list[str]:
        """Columns of the third step: seconds from UTC, where the zone is such, and its name, where it has rules."""
        name = self._name
        if self._zone is not None:
            return []
        zone = f"{name}_zone"
        hours = " ".join(f"when {literal(zone_name)} then {3_600 * n}" for zone_name, n in FIXED_ZONES.items())
        digits = f"rpad(regexp_replace({zone}, '[^0-9]', '', 'g'), 6, '0')"
        seconds = " + ".join(
            f"{unit} * cast(substr({digits}, {place}, 2) as INTEGER)" for unit, place in ((3_600, 1), (60, 3), (1, 5))
        )
        sign = f"case when starts_with({zone}, '-') then -1 else 1 end"
        known = ", ".join(literal(each) for each in self._zones)
        return [
            f"case when regexp_matches({zone}, '{_OFFSET}') then {sign} * ({seconds}) "
            f"else case upper({zone}) when 'Z' then 0 {hours} end end as {name}_seconds",
            f"case when {zone} in ({known}) then {zone} end as {name}_rules",
        ]

    def instants(self) -> list[str]:
        """Columns of the fourth step: what the local time is in UTC by the zone's offset a day before, a day after."""
        local = f"{self._name}_local"
        if self._zone == "UTC":
            return []
        if self._zone is not None:
            zone = literal(self._zone)
            return [f"{_less_offset(local, zone, day)} as {self._name}_{which}" for which, day in _SIDES]
        rules, seconds = f"{self._name}_rules", f"{self._name}_seconds"
        return [
            f"case when {seconds} is not null then {local} - to_seconds({seconds}) "
            f"when {rules} is not null then {_less_offset(local, rules, day)} end as {self._name}_{which}"
            for which, day in _SIDES
        ]

    def choices(self) -> list[str]:
        """Columns of the fifth step: the first and the second instant that the local time can be, NULL for none."""
        name, local = self._name, f"{self._name}_local"
        if self._zone == "UTC":
            return []
        zone = f"{name}_rules" if self._zone is None else literal(self._zone)
        before, after = (f"{name}_{which}" for which, _ in _SIDES)
        true = [f"case when {_local_at(at, zone)} = {local} then {at} end" for at in (before, after)]
        # least and greatest pass over NULL: of two that are no instant, neither is left.
        return [
            f"case when {before} = {after} then {before} else {pick}({true[0]}, {true[1]}) end as {name}_{which}"
            for pick, which in (("least", "first"), ("greatest", "second"))
        ]

    def instant(self) -> str:
        """The last step: the instant (UTC TIMESTAMP), NULL where it is none or not decided."""
        name = self._name
        if self._zone == "UTC":
            return f"{name}_local as {name}"
        if self._shape.ambiguous == "reject":
            return f"case when {name}_first = {name}_second then {name}_first end as {name}"
        return f"{name}_{self._shape.ambiguous} as {name}"

    def cases(self) -> list[Case]:
        """What can be wrong with it; to be asked of rows that have one."""
        name, shown = self._name, f"{self._name}_raw"
        found: list[Case] = [(f"{name}_local is null", f"{name}_unreadable", shown)]
        if self._zone is None:
            unknown = f"{name}_seconds is null and {name}_rules is null"
            found.append((f"coalesce({name}_zone, '') = ''", f"{name}_zone_missing", shown))
            if self._shape.zone_sql:
                found.append((f"{unknown} and {name}_zone = {name}_tz", f"{name}_zone_unknown", f"{name}_tz"))
            found.append((unknown, f"{name}_unreadable", shown))
        if self._zone != "UTC":
            found.append((f"{name}_first is null", f"{name}_not_in_zone", shown))
        if self._zone != "UTC" and self._shape.ambiguous == "reject":
            found.append((f"{name} is null", f"{name}_twice_in_zone", shown))
        # No meter ran before: such an instant is a slip of the format.
        found.append((f"{name} < timestamp '1970-01-01'", f"{name}_unreadable", shown))
        return found

    def _fixed_zone(self) -> str | None:
        """The zone of every row; None if rows may say their own."""
        shape = self._shape
        if "WITH TIME ZONE" in shape.native or (not shape.native and (shape.format or "") in _EPOCHS):
            return "UTC"
        if shape.zone_sql:
            return None
        of_texts = shape.format is None or _zone_directive(shape.format) is not None
        return None if not shape.native and of_texts else shape.timezone

    def _local(self) -> tuple[str, str]:
        shape, raw = self._shape, f"{self._name}_raw"
        zone = f"{self._name}_tz" if shape.zone_sql else literal(shape.timezone)
        text = f"nullif(trim(cast({raw} as VARCHAR)), '')"
        if shape.native:
            utc = "WITH TIME ZONE" in shape.native
            given = f"timezone('UTC', {raw})" if utc else f"try_cast({raw} as TIMESTAMP)"
            return f"case when {given} between {_YEARS} then {given} end", "'UTC'" if utc else zone
        if shape.format is None:
            own = f"regexp_extract({text}, '{_ISO}', 2)"
            whole = f"nullif(regexp_extract({text}, '{_ISO}', 1), '')"
            local = f"try_cast(replace({whole}, ',', '.') as TIMESTAMP)"
            timed = f"case when {own} = '' or contains({whole}, ':') then {local} end"
            return timed, f"coalesce(nullif({own}, ''), {zone})"
        if shape.format in _EPOCHS:
            return self._epoch(raw), "'UTC'"
        if shape.format in _EXCEL:
            return self._excel(text), zone
        return _strptime(text, shape.format, zone)

    def _epoch(self, raw: str) -> str:
        digits, power = _EPOCHS[self._shape.format or ""]
        # A double beyond 15 digits prints with an exponent.
        text = f"trim(cast({raw} as VARCHAR))"
        floating = (
            f"case typeof({raw}) when 'DOUBLE' then cast(try_cast({raw} as DECIMAL(38, 6)) as VARCHAR) else {text} end"
        )
        if self._source.decimal != ".":
            floating = f"replace({floating}, {literal(self._source.decimal)}, '.')"
        form = f"^-?[0-9]{{1,{digits}}}(\\.[0-9]+)?$"
        number = f"case when regexp_matches({floating}, '{form}') then {floating} end"
        if power < 0:
            return f"make_timestamp(cast(cast(cast({number} as DECIMAL(38, 0)) as HUGEINT) // 1000 as BIGINT))"
        return f"make_timestamp(cast(cast({number} as DECIMAL(38, 6)) * {10**power} as BIGINT))"

    def _excel(self, text: str) -> str:
        zero, first = _EXCEL[self._shape.format or ""]
        number = f"try_cast({number_text(text, self._source.decimal, self._source.thousands)} as DOUBLE)"
        moment = f"timestamp '{zero}' + to_milliseconds(cast(round({number} * 86400000) as BIGINT))"
        return f"case when {number} >= {first} and {number} < {_LAST_SERIAL} then {moment} end"


_SIDES = (("before", "- interval 1 day"), ("after", "+ interval 1 day"))


def _local_at(utc: str, zone: str) -> str:
    return f"timezone({zone}, timezone('UTC', {utc}))"


def _less_offset(local: str, zone: str, day: str) -> str:
    """The local time less the offset that the zone has when it is so late in UTC, a day before or after."""
    near = f"({local} {day})"
    return f"{local} - ({_local_at(near, zone)} - {near})"


def _directives(form: str) -> Iterable[tuple[str, str]]:
    """(the text, the directive's letter; empty for other text) of each part of a strptime format."""
    for part in re.findall(r"%-?.|[^%]", form, re.DOTALL):
        yield part, part[-1] if part.startswith("%") else ""


def _zone_directive(form: str) -> str | None:
    return next((part for part, letter in _directives(form) if letter in ("z", "Z")), None)


def _strptime(text: str, form: str, zone: str) -> tuple[str, str]:
    # strptime reads "infinity" and "epoch" by any format.
    text = f"case when regexp_matches({text}, '[0-9]') then {text} end"
    if _zone_directive(form) is None:
        return _whole_date(text, form), zone
    parts = list(_directives(form))
    at = next(n for n, (_, letter) in enumerate(parts) if letter in ("z", "Z"))
    before, after = ("".join(_pattern(*part) for part in some) for some in (parts[:at], parts[at + 1 :]))
    pattern = literal(f"^({before})({_OFFSET_FORM})({after})$")
    rest = "".join(part for n, (part, _) in enumerate(parts) if n != at)
    without = f"case when regexp_matches({text}, {pattern}) then regexp_replace({text}, {pattern}, '\\1\\3') end"
    return (
        _whole_date(without, rest),
        f"nullif(regexp_extract({text}, {pattern}, 2), '')",
    )


def _whole_date(text: str, form: str) -> str:
    """SQL: the local time of a text, NULL where a part of it that strptime passes over says another one.

    Strptime takes any weekday's name beside a date, and counts weeks on beyond the end of their year.
    """
    letters = [letter for _, letter in _directives(form)]
    local = f"cast(try_strptime({text}, {literal(form)}) as TIMESTAMP)"
    again = _AGAIN | (_YEARS_OF_WEEKS if _WEEKS & set(letters) else frozenset())
    agrees = [
        f"contains(lower({text}), lower(strftime({local}, '%{letter}')))" for letter in letters if letter in again
    ]
    return f"case when {' and '.join(agrees)} then {local} end" if agrees else local


def _pattern(part: str, letter: str) -> str:
    """What a part of a format stands for, as a regular expression."""
    if letter in _NAMES:
        return "[[:alpha:].]+"
    if letter in _FREE:
        return ".*?"
    if letter == "%":
        return "%"
    if letter:
        return "[0-9]+"
    return r"\s*" if part.isspace() else re.escape(part)
