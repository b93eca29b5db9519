"""The book of practice: every case ends as it says, by schedule and by webhook, and its page is up to date."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.practice import page
from tests.practice.case import CaseError, cases, read
from tests.practice.deeds import ACTS
from tests.practice.play import WAYS, Play
from tests.practice.shapes import DEEDS

CASES = cases()


def _parameters() -> list[object]:
    """A core of five is played in every test run, each in the way that it names, and the other way with the slow ones.

    Of the others a third is slow in one of its ways, by a checksum of the name, and all the rest are drills.
    """
    found = []
    for case in CASES:
        core, number = case.told.get("core"), zlib.crc32(case.name.encode())
        first = WAYS[number % len(WAYS)] if number // len(WAYS) % 3 == 0 else None
        for way in WAYS:
            why = case.goes_wrong_today(way)
            marks = [pytest.mark.xfail(reason=why, strict=True)] if why else []
            if core != way:
                marks += [pytest.mark.slow] if core or way == first else [pytest.mark.slow, pytest.mark.drill]
            found.append(pytest.param(case.name, way, id=f"{case.name}-{way}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "way"), _parameters())
def test_a_set_up_ends_as_its_case_says(tmp_path: Path, name: str, way: str) -> None:
    case = next(one for one in CASES if one.name == name)
    wrong = list(Play(case, way, tmp_path).through().complaints())
    assert wrong == [], "\n".join(wrong)


def test_the_page_is_written_from_the_cases() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.written(), "the page is stale: make practice"


def test_five_cases_are_played_in_every_test_run_and_each_has_its_chapter() -> None:
    assert sum(case.told.get("core") in WAYS for case in CASES) == 5
    assert {case.told["chapter"] for case in CASES} <= set(page.CHAPTERS)
    assert len({case.told["title"] for case in CASES}) == len(CASES)


def test_each_thing_that_a_step_may_do_can_be_done() -> None:
    assert set(ACTS) == set(DEEDS)


WHOLE = """\
title: A case
chapter: Corrections
set_up: One customer.
site:
  customers: {acme: {}}
what_happens:
  - 2026-03-17 10:00, the bridge runs:
      bridge:
in_the_end: {}
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("set_up:", "set_upp:", r"broken.yaml:3: nobody knows set_upp; did you mean set_up\?"),
        ("customers:", "custmers:", r"broken.yaml:5: nobody knows custmers; did you mean customers\?"),
        ("acme: {}", "acme: {companny: x}", r"broken.yaml:5: nobody knows companny; did you mean company\?"),
        ("bridge:", "bridged:", r"broken.yaml:8: nobody knows bridged; did you mean bridge\?"),
        ("2026-03-17 10:00, the", "On Monday the", r"broken.yaml:7: a step begins with DATE"),
        ("in_the_end: {}", "in_the_end: {accountants: []}", r"broken.yaml:9: nobody knows accountants"),
        ("in_the_end: {}", "in_the_end: {}\nsettings: {METERBRIDGE_ON_VOYD: hold}", r":10: .* METERBRIDGE_ON_VOID\?"),
        ("in_the_end: {}", "in_the_end: {}\ntitle: again", r"broken.yaml:10: title stands twice"),
        ("set_up: One customer.\n", "", r"broken.yaml:1: set_up is missing"),
        ("set_up: One", "set_up: [One", r"broken.yaml:\d+: "),
    ],
)
def test_what_nobody_knows_is_refused_with_file_and_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(WHOLE.replace(before, after, 1))
    with pytest.raises(CaseError, match=said):
        read(path)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("close: acme-sub", r"broken.yaml:8: ValueError: there is no draft of acme-sub"),
        ("chargebee: {subscriptions/nobody/pause: {}}", r"broken.yaml:8: ValueError: Chargebee refuses"),
        ("switches: {list_lagg: 1}", r"broken.yaml:8: ValueError: no switch list_lagg"),
        ("use: {acme: {api_cals: 1}}", r"broken.yaml:8: ValueError: there is no meter api_cals"),
    ],
)
def test_a_step_that_cannot_be_done_is_told_with_file_and_line(tmp_path: Path, deed: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(WHOLE.replace("bridge:", deed, 1))
    with pytest.raises(CaseError, match=said):
        Play(read(path), "schedule", tmp_path).through()


def test_another_end_is_told(tmp_path: Path) -> None:
    """The runner sees what is missing, what is there instead, and what the report counts."""
    path = tmp_path / "other.yaml"
    path.write_text(WHOLE.replace("in_the_end: {}", "in_the_end: {accounts: [nobody], report: {exit_code: 3}}"))
    found = list(Play(read(path), "schedule", tmp_path).through().complaints())
    assert found == ["accounts: missing 'nobody'", "report: exit_code: 3 expected, 0 found"]
