"""How commands show things: tables for people on a terminal, plain lines in a pipe, one JSON object for scripts."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

NO_END = 100_000
"""Columns where there is no terminal: nothing is folded there."""

WIDE = 120
"""Columns from which a table may fold its text; on a narrower terminal rows that do not fit become records."""

GAP, BOX_GAP = 2, 3
"""Columns between two cells, of plain lines and of a table with its line between them."""


def console() -> Console:
    """Return the console to print on; without a terminal it folds nothing."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else NO_END)


def say(text: str) -> None:
    """One line of text, folded between words on a terminal: no id is broken."""
    typer.echo("\n".join(folded(text, console().width)) if sys.stdout.isatty() else text)


def write(value: Any) -> None:
    """One JSON object on stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Rows under a title: a table where it fits, else a record each; in a pipe one row a line without boxes.

    Columns named in ``right`` are aligned to the right. Text is shown as it is, never as markup.
    """
    cells = [[_plain(cell) for cell in row] for row in rows]
    numbers = [name in set(right) for name in columns]
    if not sys.stdout.isatty():
        say("\n".join([title, *_aligned(columns, cells, numbers)]))
        return
    on = console()
    natural = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    longest = [
        max(max(map(len, text.split()), default=0) for text in column) for column in zip(columns, *cells, strict=True)
    ]
    gaps = BOX_GAP * (len(columns) - 1)
    if sum(natural) + gaps <= on.width:
        _boxed(title, columns, cells, numbers, natural)
    elif on.width >= WIDE and sum(longest) + gaps <= on.width:
        _boxed(title, columns, cells, numbers, longest)
    else:
        say(title)
        for row in cells:
            typer.echo("\n".join(_record(columns, row, on.width)))


def _boxed(
    title: str, columns: Sequence[str], cells: Iterable[Sequence[str]], numbers: Sequence[bool], least: Sequence[int]
) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title), title_justify="left", show_edge=False, pad_edge=False)
    for name, is_number, width in zip(columns, numbers, least, strict=True):
        shown.add_column(name, justify="right" if is_number else "left", min_width=width)
    for row in cells:
        shown.add_row(*map(Text, row))
    console().print(shown)


def _aligned(columns: Sequence[str], cells: Sequence[Sequence[str]], numbers: Sequence[bool]) -> list[str]:
    """One row a line, columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return [
        (" " * GAP)
        .join(
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(row, widths, numbers, strict=True)
        )
        .rstrip()
        for row in (columns, *cells)
    ]


def _record(columns: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """A row as name and value, a line each, an empty line after it; what is empty is left out."""
    names = max(map(len, columns))
    lines = []
    for name, text in zip(columns, row, strict=True):
        if text:
            first, *more = folded(text, width - names - GAP) or [""]
            lines += [f"{name.rjust(names)}  {first}", *(f"{' ' * names}  {line}" for line in more)]
    return [*lines, ""]


def folded(text: str, width: int) -> list[str]:
    """Lines of at most that width, but for words that are longer: those are left whole. What is indented stays so."""
    lines = []
    for part in text.split("\n"):
        deep = len(part) - len(part.lstrip(" -→"))
        options = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": " " * deep}
        lines += textwrap.wrap(part, max(width, 20), **options) or [""]  # type: ignore[arg-type]  # its own names
    return lines


def _plain(cell: object) -> str:
    return " ".join(str("" if cell is None else cell).split())


def tell(notices: Iterable[Mapping[str, str]]) -> None:
    """What everybody must know, before anything else."""
    for one in notices:
        say(f"{one['code']}: {one['message']}")
