"""The file of links: customers and accounts side by side, for a person to read, correct and apply. Owner-only."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from meterbridge.errors import SetupError
from meterbridge.rules.links import LinkLine

COLUMNS = (
    *("link", "score", "evidence", "customer_id", "customer_name", "customer_email"),
    *("account_id", "account_code", "account_name", "account_email", "accounts_alike", "customers_alike"),
)
YES, NO = ("yes", "y", "true", "1", "x"), ("", "no", "n", "false", "0")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
FREE_TEXTS = ("customer_name", "customer_email", "account_name", "account_email")


def refuse_to_overwrite(path: Path) -> None:
    """Raise SetupError if the file is there: somebody may have worked on it."""
    if path.exists():
        message = f"{path} is there already; somebody may have worked on it"
        raise SetupError("MB-COMMAND", message, remedy="Name another file with --out, or remove it.")


def write_links(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a new file that only its owner may read: it holds names and addresses.

    Raises:
        SetupError: MB-COMMAND, the file is there or cannot be made.
    """
    refuse_to_overwrite(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as failure:
        raise SetupError("MB-COMMAND", f"{path} cannot be written: {failure.strerror}") from failure
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(_shown(row) for row in rows)


def _shown(row: Mapping[str, object]) -> dict[str, object]:
    """A spreadsheet takes a text with such a beginning for a formula; ids and codes stay as they are."""
    return {
        name: f"'{value}" if name in FREE_TEXTS and str(value).startswith(FORMULA) else value
        for name, value in row.items()
    }


def read_links(path: Path) -> list[LinkLine]:
    """The lines to act on: those whose ``link`` says yes, or all where there is no such column.

    Raises:
        SetupError: MB-COMMAND, the file cannot be read, or a line says neither yes nor no.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as failure:
        why = failure.strerror if isinstance(failure, OSError) else "it is not UTF-8"
        raise SetupError("MB-COMMAND", f"{path} cannot be read: {why}") from failure
    head = text.partition("\n")[0]
    delimiter = max((",", ";", "\t"), key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or ()]
    if "customer_id" not in names or not {"account_id", "account_code"} & set(names):
        message = f"{path} needs the columns customer_id and account_id or account_code; it has {', '.join(names)}"
        raise SetupError("MB-COMMAND", message)
    reader.fieldnames = names
    return list(_lines(path, reader))


def _lines(path: Path, reader: csv.DictReader[str]) -> Iterator[LinkLine]:
    try:
        for row in reader:
            cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
            said = cells.get("link", "yes").casefold()
            where = f"{path}, line {reader.line_num}"
            if said not in (*YES, *NO):
                raise SetupError("MB-COMMAND", f"{where}: link says {said!r}, neither yes nor no")
            named = cells.get("account_id") or cells.get("account_code")
            if said in YES and not (cells["customer_id"] and named):
                raise SetupError("MB-COMMAND", f"{where}: customer_id and account_id or account_code are needed")
            if said in YES:
                account = cells.get("account_id", ""), cells.get("account_code", "")
                yield LinkLine(reader.line_num, cells["customer_id"], *account)
    except csv.Error as failure:
        raise SetupError("MB-COMMAND", f"{path}, line {reader.line_num}: {failure}") from failure
