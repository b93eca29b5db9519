"""What ``make compare`` sees, and what it lets pass."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.compare.__main__ import Shares, compared, numbers
from tests.compare.baseline import NoBaselineError, last_commit_of
from tests.compare.differences import Difference, differences, explain, explanations, miscounted
from tests.compare.ending import Ending, _by_key, named
from tests.compare.writes import Chance, Write, canonical


def ending(*, rows: Any = (), writes: Any = None, told: Any = ()) -> dict[str, Any]:
    return Ending("month", {"chargebee invoices": list(rows)}, dict(writes or {}), list(told), [], 1).as_json()


def lines(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one.what, one.before, one.now) for one in differences(before, now)]


def test_equal_endings_have_no_difference() -> None:
    one = ending(rows=[{"id": "a", "total": 3}], writes={"POST x {}": 2}, told=["said"])
    assert lines(one, ending(rows=[{"total": 3, "id": "a"}], writes={"POST x {}": 2}, told=["said"])) == []


def test_a_row_of_the_same_name_differs_in_its_fields_and_a_list_in_its_parts() -> None:
    before = ending(rows=[{"id": "a", "total": 3, "line_items": [{"amount": 1}, {"amount": 2}]}])
    now = ending(rows=[{"id": "a", "total": 4, "line_items": [{"amount": 1}, {"amount": 3}]}])
    assert lines(before, now) == [
        ("chargebee invoices a, line_items", '[{"amount": 2}]', '[{"amount": 3}]'),
        ("chargebee invoices a, total", "3", "4"),
    ]


def test_a_twin_and_a_missing_row_are_differences() -> None:
    row = {"id": "a", "total": 3}
    assert lines(ending(rows=[row]), ending(rows=[row, row])) == [
        ("chargebee invoices a", "no such row", '{"id": "a", "total": 3}')
    ]
    assert len(lines(ending(rows=[row]), ending())) == 1


def test_writes_and_what_is_told_are_counted() -> None:
    before = ending(writes={"POST x {}": 1}, told=["a"])
    assert lines(before, ending(writes={"POST x {}": 2})) == [
        ("write: POST x {}", "1 times", "2 times"),
        ("told: a", "1 times", "0 times"),
    ]


def test_a_body_is_equal_whatever_the_order_of_its_parts_and_exact_in_its_numbers() -> None:
    form = "application/x-www-form-urlencoded"
    assert canonical(form, b"a=1&b=2") == canonical(form, b"b=2&a=1") != canonical(form, b"a=1&b=3")
    assert canonical("", b'{"a": 1, "b": 0.1}') == canonical("", b'{"b": 0.1, "a": 1}') != canonical("", b'{"a": 1}')
    assert canonical("", b'{"a": 0.10000000000000001}') != canonical("", b'{"a": 0.1}')


def test_who_is_struck_does_not_depend_on_who_else_writes() -> None:
    writes = [Write("POST", f"/api/v2/invoices/{n}", "{}", None) for n in range(40)]
    few, all_of_them = Chance("7", 0.5), Chance("7", 0.5)
    alone = {one for one in writes[::4] if few(one)}
    assert alone == {one for one in writes if all_of_them(one)} & set(writes[::4])
    assert 0 < len(alone) < 10


def test_a_key_of_an_earlier_step_is_told_and_its_value_is_not() -> None:
    charge = Write("POST", "/api/v2/invoices/x", '{"amount": "3"}', "key-1")
    text = 'POST chargebee/invoices/x {"amount": "3"}'
    first = SimpleNamespace(writes=[charge, charge], earlier_keys=set())
    assert _by_key(first, {}) == {f"{text}, 2 times under one key": 1}  # type: ignore[arg-type]
    later = SimpleNamespace(writes=[charge], earlier_keys={"key-1"})
    assert _by_key(later, {}) == {f"{text}, under a key of before": 1}  # type: ignore[arg-type]


def test_references_and_lines_that_are_gone_have_no_name() -> None:
    assert named("line li_9xA of [mb:1f-7c]", {}) == "line a line that is gone of [mb:…]"
    assert named("line li_9xA", {"li_9xA": "line of Api 3"}) == "line line of Api 3"


def test_the_dice_see_the_same_write_in_both_versions() -> None:
    before = Write("POST", "/x", '{"code": "a", "name": "mb:1f"}', None)
    now = Write("POST", "/x", '{"code": "a", "customFields": {"chargebee_site": "s"}, "name": "mb:1f-7c"}', None)
    assert before.subject == now.subject != Write("POST", "/x", '{"code": "b", "name": "mb:1f"}', None).subject


def test_explanations_account_for_what_they_name_and_for_exactly_so_many(tmp_path: Path) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(
        "- {reason: raised, what: total$, before: ^3$, now: ^4$}\n"
        "- {reason: dropped, play: ^month$, what: '^write: DELETE', count: 2}\n"
        "- {reason: of yesterday, what: nowhere}\n"
    )
    raised = Difference("month", "chargebee invoices a, total", "3", "4")
    dropped = [Difference("month", f"write: DELETE x/{n}", "1 times", "0 times") for n in (1, 2)]
    other = Difference("month", "chargebee invoices a, total", "3", "5")
    known = explanations(file)
    assert explain([raised, *dropped, other], known) == ([other], True)
    assert [one.holds for one in known] == [True, True, False]
    assert miscounted(known) == []
    fewer = explanations(file)
    assert explain(dropped[:1], fewer) == ([], False)
    assert miscounted(fewer) == dropped[:1]
    assert explain([Difference("year", "write: DELETE x/1", "1 times", "0 times")], explanations(file))[0]


def played(*amounts: str) -> list[dict[str, Any]]:
    """A history of so many steps, a charge in each."""
    return [
        {
            **ending(writes={f'POST chargebee/invoices/draft/add_charge {{"amount": "{amount}"}}': 1}),
            "play": f"h, step {n}",
        }
        for n, amount in enumerate(amounts)
    ]


def by_steps(tmp_path: Path, apart: str, *now: str) -> tuple[list[tuple[str, str, str]], Shares]:
    file = tmp_path / "explained.yaml"
    file.write_text(f"- {{reason: rounding, what: 'amount$', before: '\"2\"', now: '\"3\"', apart: {apart}}}\n")
    count, left, shares = compared(played("1", "2", "3", "4"), played(*now), explanations(file))
    assert count >= len(left)
    return [(one.play, one.before, one.now) for one in left], shares


def test_a_history_is_compared_until_a_difference_makes_two_worlds_of_it(tmp_path: Path) -> None:
    left, shares = by_steps(tmp_path, "false", "1", "3", "3", "5")
    assert left == [("h, step 3", '"4"', '"5"')]
    assert (shares.charges["compared"], shares.charges["played"], shares.too_few()) == (4, 4, False)
    left, shares = by_steps(tmp_path, "true", "1", "3", "3", "5")
    assert left == []
    assert (shares.charges["compared"], shares.charges["played"], shares.too_few()) == (2, 4, False)


def test_the_first_difference_that_nothing_explains_is_told_and_what_follows_from_it_is_not(tmp_path: Path) -> None:
    left, shares = by_steps(tmp_path, "true", "2", "9", "9", "9")
    assert left == [("h, step 0", '"1"', '"2"')]
    assert shares.too_few()


def test_a_request_with_another_body_is_told_by_its_fields_and_one_more_of_it_as_such() -> None:
    charge = 'POST chargebee/invoices/x/add_charge {"amount": "%s", "description": "%s"}'
    found = lines(ending(writes={charge % (3, "Api"): 1}), ending(writes={charge % (4, "Api"): 1}))
    assert found == [("write: POST chargebee/invoices/x/add_charge (Api), amount", '"3"', '"4"')]
    twice = lines(ending(writes={charge % (3, "Api"): 1}), ending(writes={charge % (4, "Api"): 2}))
    assert [one[1:] for one in twice] == [("1 times", "0 times"), ("0 times", "2 times")]
    for now in ({charge % (3, "Sms"): 1}, {}, {charge % (3, "Api"): 1, charge % (4, "Api"): 1}):
        assert lines(ending(writes={charge % (3, "Api"): 1}), ending(writes=now))
    one_key = f"{charge % (3, 'Api')}, under one key: {charge % (4, 'Api')}"
    assert len(lines(ending(writes={charge % (3, "Api"): 1}), ending(writes={one_key: 1}))) == 2


@pytest.mark.parametrize("entry", ["{what: x}", "{reason: ' ', what: x}", "{reason: x}", "{reason: x, where: y}"])
def test_an_explanation_says_why_and_of_what(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(f"- {entry}\n")
    with pytest.raises(ValueError, match="an entry needs"):
        explanations(file)


def test_the_committed_explanations_can_be_read() -> None:
    assert all(one.reason for one in explanations())


def test_seeds_are_named_by_ranges() -> None:
    assert numbers("3,7,11-13") == [3, 7, 11, 12, 13]
    assert numbers("") == []


def test_the_last_commit_of_a_version_is_found_by_its_line_and_a_checkout_without_it_says_what_to_do(
    tmp_path: Path,
) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@invalid.example")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "meterbridge").mkdir()
    for version, words in (("0.1.0", "first"), ("0.1.0", "last of it"), ("0.1.00", "another"), ("0.2.0", "next")):
        (tmp_path / "meterbridge" / "__init__.py").write_text(f'"""{words}."""\n\n__version__ = "{version}"\n')
        git("add", "-A")
        git("commit", "-q", "-m", words)
    assert last_commit_of("0.1.0", tmp_path) == git("rev-parse", "HEAD~2").strip()
    with pytest.raises(NoBaselineError, match="says version 9"):
        last_commit_of("9", tmp_path)
