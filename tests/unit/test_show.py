"""Commands print tables that fit, records where they do not, plain lines in a pipe."""

import os
import re
import sys

import pytest
from rich.console import Console

from meterbridge import log
from meterbridge.cli import main, show
from tasks.engine import task, watched

ID = "61f40317-60fc-48b8-b71d-bc5c90b4cf79"
COLUMNS = ("code", "record", "amount", "what to know")
ROWS = [
    ("MB-NO-INVOICE", f"{ID} / cust-yearly-sub", "57.32 USD", "no pending invoice: bills next on 2027-01-01 [sic]"),
    ("MB-ACCOUNT-CLASH", "acme", None, "its account code would differ"),
]


@pytest.fixture
def shown(monkeypatch, capsys):
    """Print the table for a terminal of a width (0: a pipe); returns the lines."""

    def printed(width, rows=ROWS):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width > 0, raising=False)
        wide = Console(highlight=False, width=width or show.NO_END, color_system=None)
        monkeypatch.setattr(show, "console", lambda: wide)
        show.table("Set aside", COLUMNS, rows, right=("amount",))
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.mark.parametrize("width", [0, 40, 80, 100, 120, 200])
def test_no_id_and_no_code_is_broken_at_any_width(shown, width):
    lines = shown(width)
    for word in (ID, "MB-NO-INVOICE", "MB-ACCOUNT-CLASH", "2027-01-01", "[sic]"):
        assert sum(word in line for line in lines) == 1, (word, lines)
    if width >= 80:
        assert max(map(len, lines)) <= width


def test_a_pipe_gets_one_row_a_line_without_boxes(shown):
    title, head, *rows = shown(0)
    assert (title, head.split()[:2], len(rows)) == ("Set aside", ["code", "record"], 2)
    assert not re.search("[─━│┃╇┼]", "".join([title, head, *rows]))
    assert rows[0].index("57.32 USD") + len("57.32 USD") == head.index("amount") + len("amount")


def test_a_narrow_terminal_gets_records_and_a_wide_one_a_table(shown):
    narrow, wide = shown(80), shown(200)
    assert "      record  acme" in narrow
    assert not any("│" in line for line in narrow)
    assert sum("│" in line for line in wide) == 2
    assert sum(line.lstrip().startswith("amount") for line in narrow) == 1  # what is empty is left out


@pytest.mark.parametrize("width", range(40, 200, 3))
def test_no_table_of_many_columns_is_cut(monkeypatch, capsys, width):
    monkeypatch.setattr(show.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(show, "console", lambda: Console(width=width, highlight=False, emoji=False))
    row = [f"{name}-id" for name in "abcdefg"]
    show.table("Runs", list("abcdefg"), [row])
    assert re.findall(r".-id", capsys.readouterr().out) == row


def test_colons_in_an_id_are_no_emoji(shown, capsys):
    show.say("acme:x:1 and a:id:b")
    assert "acme:x:1 and a:id:b" in capsys.readouterr().out
    assert any("eu:id:1" in line for line in shown(0, [("MB-A", "eu:id:1", "1 EUR", "w")]))
    assert any("eu:id:1" in line for line in shown(60, [("MB-A", "eu:id:1", "1 EUR", "w" * 70)]))


def test_a_small_table_stays_a_table_on_a_narrow_terminal(shown):
    assert any("│" in line for line in shown(60, [("MB-A", "r", "1 EUR", "w")]))


def test_text_is_folded_between_words_and_keeps_its_place():
    assert show.folded("  → one two three four", 20) == ["  → one two three", "    four"]
    assert show.folded(f"a {ID}", 20) == ["a", ID]


def test_only_the_module_of_the_command_is_imported():
    assert main._needed(["--version"]) == ()
    assert main._needed(["-v", "status", "--json"]) == ("status",)
    assert set(main._needed(["--help"])) == set(main._needed(["nonsense"])) == set(main.COMMANDS)


def test_a_terminal_shows_no_log_unless_one_is_asked_for(monkeypatch):
    def least(level):
        log.configure(level, "text")
        [handler] = [one for one in log.logging.getLogger().handlers if isinstance(one, log.StderrHandler)]
        return handler.level, log.logging.getLogger("tasks").level

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert least("auto") == (log.logging.WARNING, log.logging.INFO)  # the UI gets what the terminal does not
    assert least("INFO") == (log.logging.INFO, log.logging.INFO)
    assert least("ERROR") == (log.logging.ERROR, log.logging.ERROR)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert least("auto") == (log.logging.INFO, log.logging.INFO)


def test_stages_are_told_as_they_begin():
    told = []

    @task(name="deliver {kind} {number}")
    def deliver(kind, number):
        return len(told)

    with watched(told.append):
        assert deliver("charge", number=2) == 1
    deliver("charge", 3)
    assert told == ["deliver charge 2"]


def test_verbose_never_shows_less_than_the_settings_ask_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("METERBRIDGE_LOG_LEVEL=DEBUG\n", encoding="utf-8")
    monkeypatch.setenv("METERBRIDGE_LOG_LEVEL", "")  # so that what the command sets is undone
    monkeypatch.delenv("METERBRIDGE_LOG_LEVEL")
    main.root(verbose=True)
    assert "METERBRIDGE_LOG_LEVEL" not in os.environ
    (tmp_path / ".env").write_text("METERBRIDGE_LOG_LEVEL=WARNING\n", encoding="utf-8")
    main.root(verbose=True)
    assert os.environ["METERBRIDGE_LOG_LEVEL"] == "INFO"
