"""SQL that the two databases spell differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Double, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class AnyText(TypeDecorator[str]):
    """A text as people's files and vendors have it: what a database cannot hold, NUL and half letters, is marked.

    PostgreSQL refuses a NUL, both refuse lone surrogates; one such text in one message would fail its whole run.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text with a replacement character for each sign that cannot be held."""
        del dialect  # the same text in both, so that keys are equal
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class EpochNow(FunctionElement[float]):
    """The database's clock, in epoch seconds to the millisecond: the one clock that all processes share."""

    type = Double()
    inherit_cache = True
    name = "epoch_now"


@compiles(EpochNow, "sqlite")
def _sqlite_now(*_: object, **__: object) -> str:
    # unixepoch('subsec') needs SQLite 3.42; Python 3.11 still comes with older ones.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(EpochNow, "postgresql")
def _postgresql_now(*_: object, **__: object) -> str:
    # Not now(): it stands still while a transaction waits for a lock, and a lease may run out meanwhile.
    return "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


class JsonText(FunctionElement[str]):
    """A top-level text field of a JSON column; arguments: the column, the field's name as a literal.

    A literal and no parameter, so that an index on the expression is found.
    """

    type = Text()
    inherit_cache = True
    name = "json_text"


@compiles(JsonText, "sqlite")
def _sqlite_json_text(element: JsonText, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, field = element.clauses
    return f"json_extract({compiler.process(column, **kwargs)}, '$.' || {compiler.process(field, **kwargs)})"


@compiles(JsonText, "postgresql")
def _postgresql_json_text(element: JsonText, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, field = element.clauses
    return f"(CAST({compiler.process(column, **kwargs)} AS JSONB) ->> {compiler.process(field, **kwargs)})"
