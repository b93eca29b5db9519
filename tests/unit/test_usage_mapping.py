"""The usage mapping: what it accepts, and that each mistake names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.usage_mapping import load_usage_mapping

GOOD = """\
name: flights
account: carrier
ts: {column: departed, format: "%d.%m.%Y %H:%M", timezone: America/New_York}
key: [flight, day]
meters:
  - meter: flights
    when: cancelled = '0'
    measure:
      distance: distance
      air_time: {column: air_time, empty: leave_out}
    where: {origin: {sql: upper(origin)}}
columns: [origin, cancelled]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "usage.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plain_text_names_a_column(tmp_path: Path) -> None:
    mapping = load_usage_mapping(written(tmp_path, GOOD))
    fields = [(category, code, value.column, value.sql) for category, code, value in mapping.meters[0].fields()]
    assert fields == [
        ("measure", "distance", "distance", None),
        ("measure", "air_time", "air_time", None),
        ("where", "origin", None, "upper(origin)"),
    ]
    assert mapping.meters[0].meter.constant == "flights"


def test_every_column_that_is_needed_is_listed_once(tmp_path: Path) -> None:
    mapping = load_usage_mapping(written(tmp_path, GOOD))
    assert mapping.column_names() == [
        "carrier", "departed", "distance", "air_time", "flight", "day", "origin", "cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        pytest.param("account: carrier", "akkount: carrier", 2, "unknown key", id="misspelt-key"),
        pytest.param("America/New_York", "America/Newyork", 3, "no IANA time zone", id="unknown-zone"),
        pytest.param("key: [flight, day]", "key: []", 4, "at least 1", id="no-key"),
        pytest.param(
            "air_time: {column: air_time, empty: leave_out}", "air_time: {}", 10, "exactly one", id="no-origin"
        ),
        pytest.param("{sql: upper(origin)}", "{sql: a, column: b}", 11, "exactly one", id="two-origins"),
        pytest.param("where: {origin:", "where: {distance:", 6, "two categories", id="field-in-two-categories"),
        pytest.param("name: flights", "name: Flights!", 1, "match pattern", id="name-of-other-letters"),
        pytest.param("key: [flight, day]", "key: [flight]\nkey: [day]", 5, "repeated", id="repeated-key"),
        pytest.param("empty: leave_out", "empty: zero", 10, "'reject' or 'leave_out'", id="unknown-choice"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(SetupError) as refusal:
        load_usage_mapping(path)
    assert refusal.value.code == "MB-USAGE-MAPPING"
    assert f"{path}:{line}:" in refusal.value.message
    assert words in refusal.value.message


FORMATS = {
    "iso": "none of epoch_seconds", "%Q-%m-%d": "knows no %Q", "%d.%m. %H:%M": "no year",
    "%Y-%m-%d %H:%M %p": "go together", "%Y-%m-%d %I:%M": "go together", "%Y %z %Z": "the zone twice",
    "%d.%m.%Y %H Uhr %d": "one thing twice, by %d", "%Y-%m-%b-%d": "by %m and %b", "%x %d": "by %x and %d",
    "%Y-%m-%d %H:%M:%S.%f%g": "by %f and %g", "%Y-%d": "no day as", "%Y-%W %a": "no day as", "%Y-%W-%u": "no day as",
    "%G-%m-%d": "no day as", "%Y-%V-%u": "no day as", "%Y-%m-%d %S": "leaves out hours", "%Y-%m-%d %M:%S": "leaves out",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_that_cannot_say_an_instant_is_refused(tmp_path: Path, form: str) -> None:
    """By `%Y-%W %a` every row of a week went to its Monday."""
    path = written(tmp_path, GOOD.replace("%d.%m.%Y %H:%M", form))
    with pytest.raises(SetupError, match=FORMATS[form]) as refusal:
        load_usage_mapping(path)
    assert (refusal.value.code, f"{path}:3: ts.format" in refusal.value.message) == ("MB-USAGE-MAPPING", True)


@pytest.mark.parametrize(
    "form", ["%Y", "%Y-%m", "%-d.%-m.%y", "%c", "%x %X", "%Y-%j", "%G-W%V-%u", "%a %d %b %Y %I %p", "%Y%m%d%H%M%S%f"]
)
def test_a_format_that_says_one_is_taken(tmp_path: Path, form: str) -> None:
    assert load_usage_mapping(written(tmp_path, GOOD.replace("%d.%m.%Y %H:%M", form))).ts.format == form


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "idna", "punycode", "undefined"])
def test_an_encoding_that_reads_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match=rf":13: encoding: {name} is no encoding of texts"):
        load_usage_mapping(written(tmp_path, GOOD + f"encoding: {name}\n"))


def test_an_empty_file_and_none_are_refused(tmp_path: Path) -> None:
    for path in (written(tmp_path, ""), tmp_path / "absent.yaml"):
        with pytest.raises(SetupError, match=r"empty|does not exist"):
            load_usage_mapping(path)


def test_an_alias_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "usage.yaml"
    path.write_text(GOOD.replace("key: [flight, day]", "key: &k [flight, day]\ncolumns: *k"), encoding="utf-8")
    with pytest.raises(SetupError, match=r"usage\.yaml:5: the alias \*k is not taken") as refusal:
        load_usage_mapping(path)
    assert refusal.value.code == "MB-USAGE-MAPPING"
