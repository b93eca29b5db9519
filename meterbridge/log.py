"""Logs on stderr: one constant message a record, facts in ``extra``, secrets and e-mail addresses masked.

JSON lines where a machine reads, short text on a terminal. Everything goes
through standard :mod:`logging`; Prefect shows our records in its UI when
``PREFECT_LOGGING_EXTRA_LOGGERS`` names :data:`PACKAGES`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

from meterbridge.errors import MeterbridgeError
from meterbridge.redaction import without_secrets

PACKAGES = ("flows", "tasks", "connectors", "meterbridge")
"""Names of the loggers whose level :func:`configure` sets."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_AUTHORIZATION = re.compile(
    r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:basic|bearer)\s+)?[^\s\"',}]+|\b(basic|bearer)\s+[A-Za-z0-9._~+/=-]{8,}"
)
_EMAIL = re.compile(r"[^\s@<>()\[\],:;=\"]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")


def redact(text: str) -> str:
    """Mask registered secrets, Authorization values and e-mail addresses."""
    text = _AUTHORIZATION.sub(lambda found: f"{found[1] or found[2] + ' '}[secret]", without_secrets(text))
    return _EMAIL.sub("[e-mail]", text)


class Redaction(logging.Filter):
    """Masks a record in place: message, facts and traceback. Lets every record pass.

    An error of ours says what happened and what to do: its traceback is for whoever looks for a bug, at DEBUG.
    """

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self.tracebacks = tracebacks

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask; a second time changes nothing."""
        if record.exc_info and isinstance(record.exc_info[1], MeterbridgeError) and not self.tracebacks:
            record.exc_info = record.exc_text = None
        message = record.getMessage()
        # Left alone when clean: uvicorn's access log formats its args itself.
        if (masked := redact(message)) != message:
            record.msg, record.args = masked, None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        for name, fact in facts(record).items():
            setattr(record, name, _masked(fact))
        return True


def facts(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave in ``extra``."""
    return {name: fact for name, fact in vars(record).items() if name not in _STANDARD}


def _masked(fact: object) -> object:
    if isinstance(fact, dict):
        return {redact(str(name)): _masked(inner) for name, inner in fact.items()}
    if isinstance(fact, list | tuple | set | frozenset):
        return [_masked(inner) for inner in fact]
    text = str(fact)
    # The object itself where it is clean: Prefect's handlers read ids of their own from their records.
    return fact if (masked := redact(text)) == text else masked


class JsonLines(logging.Formatter):
    """A record as one JSON object: at (UTC), level, logger, message, the facts, error."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without a line break."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {
            "at": at,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: fact for name, fact in facts(record).items() if name not in line}
        if error := _error(record):
            line["error"] = error
        return json.dumps(line, default=str, ensure_ascii=False)


class TerminalText(logging.Formatter):
    """A record for a person: time of day (local), level, message, facts as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it."""
        told = " ".join(f"{name}={fact}" for name, fact in facts(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {record.getMessage()}"
        return "\n".join(part for part in (f"{line}  {told}".rstrip(), _error(record)) if part)


class UiText(logging.Formatter):
    """A record as Prefect's UI lists it, which has columns for time, level, task and logger: message and facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it."""
        told = ", ".join(f"{name} {fact}" for name, fact in facts(record).items() if not name.endswith("_id"))
        line = (
            f"{record.getMessage()}: {told}" if told and record.name.split(".")[0] in PACKAGES else record.getMessage()
        )
        return "\n".join(part for part in (line, _error(record)) if part)


def _error(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    return "".join(traceback.format_exception(*record.exc_info)).rstrip() if record.exc_info else ""


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at the moment of writing, so that a redirection is followed."""

    @property
    def stream(self) -> TextIO:
        """The standard error stream of now."""
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """The base class assigns one; it is not kept."""


def is_quiet(level: str) -> bool:
    """True if nobody asked for a log and a person is at the terminal: what a command answers is enough then."""
    return level == "auto" and sys.stderr.isatty()


def configure(level: str = "auto", form: Literal["auto", "json", "text"] = "auto") -> None:
    """Send all logs of this process to stderr in one form, masked wherever they go. May be called again.

    Args:
        level: Least level of our own records, and on stderr of everybody's. ``auto`` is INFO; on a terminal only
            warnings are shown then, while Prefect's UI gets everything.
        form: ``auto`` is text on a terminal and JSON lines elsewhere.
    """
    least = "INFO" if level == "auto" else level
    handler = StderrHandler()
    handler.setLevel("WARNING" if is_quiet(level) else least)
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TerminalText() if as_text else JsonLines())
    root = logging.getLogger()
    for old in [old for old in root.handlers if _writes_to_terminal(old)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name in PACKAGES:
        logging.getLogger(name).setLevel(least)
    for other in _all_handlers():
        if type(other).__name__ == "APILogHandler":  # Prefect's, by name: nothing here knows Prefect
            other.setFormatter(UiText())
        for known in [known for known in other.filters if isinstance(known, Redaction)]:
            other.removeFilter(known)
        other.addFilter(Redaction(tracebacks=level == "DEBUG"))


def _writes_to_terminal(handler: logging.Handler) -> bool:
    # Prefect's console handler would print every record a second time, in another form and not as JSON.
    kind = type(handler)
    return kind in (StderrHandler, logging.StreamHandler) or (
        isinstance(handler, logging.StreamHandler) and kind.__module__.startswith("prefect.")
    )


def _all_handlers() -> list[logging.Handler]:
    """Handlers of every logger there is: Prefect sends records to its server through its own."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    return [handler for logger in loggers for handler in logger.handlers]
