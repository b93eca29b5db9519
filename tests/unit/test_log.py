"""What a log line holds, and what it must never hold."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from meterbridge import log
from meterbridge.redaction import register_secret


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """A record as logging would make it, dated 2026-09-21T14:13:20.250Z."""
    made = logging.makeLogRecord(
        {"name": "tasks.extract", "levelname": "WARNING", "levelno": 30, "msg": message, "args": args, **extra}
    )
    made.created = 1_790_000_000.25
    return made


def masked(made: logging.LogRecord) -> logging.LogRecord:
    assert log.Redaction().filter(made)
    return made


@pytest.fixture
def loggers_restored() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root = logging.getLogger()
    handlers, filters = root.handlers[:], {handler: handler.filters[:] for handler in root.handlers}
    levels = {name: logging.getLogger(name).level for name in log.PACKAGES}
    yield
    root.handlers[:] = handlers
    for handler, before in filters.items():
        handler.filters[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_json_line_holds_time_level_logger_message_and_facts() -> None:
    line = log.JsonLines().format(record("page landed", run_id="r-1", count=3, amount=Decimal("0.10")))
    assert json.loads(line) == {
        "at": "2026-09-21T14:13:20.250Z",
        "level": "WARNING",
        "logger": "tasks.extract",
        "message": "page landed",
        "run_id": "r-1",
        "count": 3,
        "amount": "0.10",
    }


def test_the_ui_shows_message_and_facts_but_no_ids_of_which_it_has_columns() -> None:
    shown = log.UiText().format(record("landed", run_id="r-1", resource="bills", count=26))
    assert shown == "landed: resource bills, count 26"
    assert log.UiText().format(record("run opened", run_id="r-1")) == "run opened"


def test_the_ui_shows_prefects_own_lines_as_they_are() -> None:
    made = record("Finished in state Completed()", name="prefect.flow_runs", flow_name="sync_bills")
    assert log.UiText().format(made) == "Finished in state Completed()"


def test_a_json_line_is_one_line_whatever_the_facts_hold() -> None:
    assert "\n" not in log.JsonLines().format(record("refused", reason="first\nsecond"))


def test_a_fact_cannot_replace_the_lines_own_fields() -> None:
    assert json.loads(log.JsonLines().format(record("opened", at="never", level="x")))["level"] == "WARNING"


def test_terminal_text_names_facts_after_the_message() -> None:
    assert log.TerminalText().format(record("page landed", count=3)).endswith(" WARNING page landed  count=3")


def test_a_registered_secret_is_masked_in_message_and_facts() -> None:
    register_secret("live_k3y_of_the_site")
    made = masked(record("key %s", "live_k3y_of_the_site", url={"user": ["live_k3y_of_the_site:"]}))
    assert made.getMessage() == "key [secret]"
    assert made.__dict__["url"] == {"user": ["[secret]:"]}


def test_a_secret_that_holds_another_is_masked_as_a_whole() -> None:
    register_secret("inner-part")
    register_secret("outer-inner-part-outer")
    assert log.redact("outer-inner-part-outer") == "[secret]"


def test_the_password_of_a_database_url_is_masked_alone_too() -> None:
    register_secret("postgresql+psycopg://bridge:p%40ssphrase@db/ledger")
    assert log.redact("authentication failed for p@ssphrase") == "authentication failed for [secret]"


def test_a_text_too_short_to_be_a_secret_is_not_masked() -> None:
    register_secret("a")
    assert log.redact("a page landed") == "a page landed"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Authorization: Bearer eyJhbGciOi.x-y_z", "Authorization: [secret]", id="bearer-header"),
        pytest.param("authorization=Basic dGVzdDo=", "authorization=[secret]", id="basic-header"),
        pytest.param("{'Authorization': 'Bearer abc.def'}", "{'Authorization': '[secret]'}", id="header-in-a-dict"),
        pytest.param("sent Bearer abcdefgh1234", "sent Bearer [secret]", id="bearer-token-alone"),
        pytest.param("for Zoë.Smith+x@mail.example.com now", "for [e-mail] now", id="address-beyond-ascii"),
        pytest.param("for ann@example.com.", "for [e-mail].", id="address-before-a-full-stop"),
        pytest.param("item api-pro@EUR stays", "item api-pro@EUR stays", id="an-id-with-an-at-sign-stays"),
        pytest.param("basic plan stays", "basic plan stays", id="the-word-basic-stays"),
    ],
)
def test_credentials_and_addresses_are_masked(text: str, shown: str) -> None:
    assert log.redact(text) == shown


def test_a_traceback_is_masked() -> None:
    try:
        raise ValueError("refused for ann@example.com")
    except ValueError:
        made = masked(record("failed", exc_info=sys.exc_info()))
    assert json.loads(log.JsonLines().format(made))["error"].endswith("ValueError: refused for [e-mail]")
    assert "ann@example.com" not in log.TerminalText().format(made)


def test_a_clean_record_keeps_its_arguments_and_objects() -> None:
    identity = object()
    made = masked(record("%s done", 7, holder=identity))
    assert made.args == (7,)
    assert made.__dict__["holder"] is identity


@pytest.mark.usefixtures("loggers_restored")
def test_configured_logs_go_to_stderr_once_however_often_configured(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    log.configure("INFO", "json")
    logging.getLogger("tasks.extract").info("page landed", extra={"customer": "ann@example.com"})
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [json.loads(line)["customer"] for line in shown.err.splitlines()] == ["[e-mail]"]


@pytest.mark.usefixtures("loggers_restored")
def test_records_below_the_level_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("WARNING", "text")
    logging.getLogger("connectors.transport").info("quiet")
    logging.getLogger("connectors.transport").warning("loud")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["loud"]


@pytest.mark.usefixtures("loggers_restored")
def test_handlers_that_were_there_before_are_masked_too() -> None:
    seen: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    logging.getLogger().addHandler(Collector())
    log.configure("INFO", "json")
    logging.getLogger("flows").info("for ann@example.com")
    assert seen == ["for [e-mail]"]
