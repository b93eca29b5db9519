"""The usage part of a run's staging file: land the input, judge it, hand out what is to be sent.

Memory stays flat: DuckDB spills beyond its limit, repetitions are looked for in
parts, and measurements leave in slots of a fixed number of source rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from meterbridge.errors import Exhausted, RetriableError, SetupError
from meterbridge.staging.arrow import Texts, texts
from meterbridge.staging.database import statement
from meterbridge.staging.usage_copy import ROOM
from meterbridge.staging.usage_landing import Landed, first_line, land
from meterbridge.staging.usage_relation import relation, whole_row
from meterbridge.staging.usage_room import SETTINGS, room
from meterbridge.staging.usage_shape import ROW, UsageShape, literal
from meterbridge.staging.usage_sql import BODY

MEMORY = "100MB"
"""One million rows fill it, so that ten million take no more; what is beyond lies in the file or is spilled."""

WIDE_MEMORY = "400MB"
"""For rows of many long texts, of which DuckDB holds thousands at once; taken only when the other was too little."""

READING_BYTES = 32_000_000
ROWS_UNDER_WAY = 16_384
"""Sending reads the table from its beginning to its end and keeps nothing: blocks, and some vectors of 2,048 rows."""

ROWS_PER_PART = 1_000_000
SLOT_MEASUREMENTS = 1_000
REFERENCES = {
    "ref_usage_accounts": ("code", "reason", "subject"),
    "ref_usage_meters": ("code", "reason", "subject"),
    "ref_usage_closed": ("meter", "account", "day", "reason"),
    "ref_usage_spans": ("subscription_id", "begin_at", "reason"),
    "ref_usage_records": ("subscription_id", "item_price_id", "begin_at", "sketch"),
    "ref_usage_items": ("item_price_id", "calculation"),
    "ref_usage_held": ("subscription_id", "item_price_id"),
}

_OF_THE_FILE = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException)
"""What is the staging file's own trouble: a full disk, also when it is seen at a commit."""

OfFile = TypeVar("OfFile", bound="UsageFile")


class UsageFile:
    """One run's staging file, opened for usage. One thread lands and judges; reading may go on beside marking."""

    def __init__(self, path: Path, *, memory: str = MEMORY) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._memory = memory
        self._connection = self._opened()
        self._holed: set[int] | None = None
        self._landed: Landed | None = None

    def _opened(self) -> duckdb.DuckDBPyConnection:
        try:
            connection = duckdb.connect(str(self._path), config={**SETTINGS, "memory_limit": self._memory})
        except duckdb.IOException as failure:
            raise RetriableError("MB-UNAVAILABLE", f"the staging file {self._path.name} is in use") from failure
        # The bar would go to stdout, where --json prints one object and nothing else.
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        return connection

    def close(self) -> None:
        """Flush and release the file."""
        self._connection.close()

    def land(self, shape: UsageShape) -> Landed:
        """Read the input once a meter into ``stg_usage``, in a room of its own.

        Raises:
            SetupError: MB-USAGE-INPUT or MB-USAGE-MAPPING, the input cannot be read so, or has no such column.
        """
        self._connection.close()
        source = shape.source
        reached = [*source.files, *(path for path in (source.places, source.broken) if path is not None)]
        try:
            try:
                with room(self._path, reached, self._memory) as connection:
                    self._landed = land(connection, shape)
            except duckdb.OutOfMemoryException:
                self._memory = WIDE_MEMORY
                with room(self._path, reached, self._memory) as connection:
                    self._landed = land(connection, shape)
        finally:
            self._connection = self._opened()
        return self._landed

    def accounts(self) -> Iterator[str]:
        """Each account code of rows that are sound so far."""
        return (row[0] for row in self._rows("select distinct account from stg_usage where reason is null order by 1"))

    def meters(self) -> list[str]:
        """Each meter code of rows that are sound so far."""
        return [row[0] for row in self._rows("select distinct meter from stg_usage where reason is null order by 1")]

    def refer(self, table: str, rows: Iterable[Sequence[str | None]]) -> None:
        """Land a small reference table of :data:`REFERENCES`."""
        columns = REFERENCES[table]
        self._connection.execute(f"create or replace table {table} ({', '.join(f'{c} VARCHAR' for c in columns)})")
        given = list(rows)
        if given:
            lists = [[row[place] for row in given] for place in range(len(columns))]
            shown = ", ".join("unnest(?::VARCHAR[])" for _ in columns)
            self._connection.execute(f"insert into {table} select {shown}", lists)

    def judge(self) -> int:
        """Look for repetitions and gather everything that must not be sent; returns how many."""
        self._find_suspects()
        if self._landed is not None and not self._landed.shape.key_sql:
            self._number_equal_rows()
        self._land_contents()
        for table in ("int_usage_twins", "chk_usage_rejects"):
            self._connection.execute(statement("usage", table))
        return int(self.one("select coalesce(sum(lines), 0) from chk_usage_rejects")[0])

    def name_accounts(self, codes: Mapping[str, str]) -> None:
        """Say accounts by their codes where the input called them otherwise; uids stay those of the input's names."""
        if codes:
            self._connection.execute("create or replace temp table named (account VARCHAR, code VARCHAR)")
            given = [list(codes), list(codes.values())]
            self._connection.execute("insert into named select unnest(?::VARCHAR[]), unnest(?::VARCHAR[])", given)
            self._connection.execute(
                "update stg_usage set account = named.code from named where named.account = stg_usage.account "
                "and number not in (select number from chk_usage_rejects)"
            )

    def summarise(self) -> None:
        """Count by meter and account into ``out_usage_summary``."""
        self._connection.execute(statement("usage", "out_usage_summary"))

    def old_days(self, before: float) -> Iterator[tuple[str, str, str]]:
        """(meter, account, UTC day) of the measurements older than an instant (epoch seconds) that are to be sent."""
        query = (
            "select distinct meter, account, ts::date::varchar from stg_usage "
            "anti join chk_usage_rejects using (number) "
            "where ts::date <= make_timestamp(cast($before * 1000000 as BIGINT))::date order by all"
        )
        return self._rows(query, {"before": before})

    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest measurement number; (0, -1) when there is none."""
        low, high = self.one("select min(number), max(number) from stg_usage")
        return (0, -1) if low is None else (int(low), int(high))

    def read_in_turn(self, row_bytes: int) -> None:
        """From here on each reader works alone, in the table's order, so that nothing need be sorted.

        ``row_bytes``: a measurement's size at most.
        """
        memory = (READING_BYTES + ROWS_UNDER_WAY * row_bytes) // 1_000_000
        self._connection.execute(f"SET threads = 1; SET memory_limit = '{memory}MB'")

    def sendable(self, first: int, last: int, *, sorted_rows: bool) -> Iterator[Texts]:
        """The measurements with these numbers (inclusive) that may go, in order, each with a comma before it.

        ``sorted_rows``: the table's order is that of the numbers, as a single meter leaves it; only after
        :meth:`read_in_turn`.
        """
        low, high = int(first), int(last)
        source = f"(select * from stg_usage where number between {low} and {high} and reason is null)"
        rejects = f"(select number from chk_usage_rejects where number between {low} and {high})"
        with self._connection.cursor() as cursor:
            some = cursor.execute(f"select exists {rejects}").fetchall()[0][0]
            without = f" anti join {rejects} using (number)" if some else ""
            order = "" if sorted_rows and not some else " order by number"
            yield from texts(cursor.sql(f"select number, {BODY} from {source}{without}{order}"))

    def count_sendable(self, first: int, last: int) -> int:
        """How many :meth:`sendable` hands out."""
        span = f"where number between {int(first)} and {int(last)}"
        query = f"select (select count(*) from stg_usage {span}) - (select count(*) from chk_usage_rejects {span})"
        with self._connection.cursor() as cursor:
            return int(cursor.execute(query).fetchall()[0][0])

    def first_sendable(self, count: int) -> list[str]:
        """The first measurements that may go, as JSON."""
        query = (
            f"select {BODY} from stg_usage anti join chk_usage_rejects using (number) where reason is null "
            "order by number limit $count"
        )
        return [body.removeprefix(",") for (body,) in self._rows(query, {"count": count})]

    def source_row(self, number: int) -> int:
        """The source row of a measurement."""
        return int(self.one(f"select source_row from stg_usage where number = {int(number)}")[0])

    def mark_resent(self, spans: Iterable[tuple[int, int]]) -> None:
        """These measurements (first and last number, inclusive) were sent more than once."""
        given = list(spans)
        if given:
            firsts, lasts = [span[0] for span in given], [span[1] for span in given]
            with self._connection.cursor() as cursor:
                cursor.execute("insert into out_usage_resent select unnest(?), unnest(?)", [firsts, lasts])

    def find(self, uids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        """(source row, whether it was sent more than once) of these uids, as far as the file has them."""
        if self.one("select count(*) from duckdb_tables() where table_name = 'out_usage_resent'")[0] == 0:
            return {}
        query = (
            "select uid, source_row, exists (from out_usage_resent where number between first and last) "
            "from stg_usage where reason is null and uid in (select unnest($uids)) order by number desc"
        )
        return {row[0]: (row[1], row[2]) for row in self._connection.execute(query, {"uids": list(uids)}).fetchall()}

    def write_rejects(self, path: Path) -> None:
        """The rejected rows as a file: Parquet or CSV, by the ending of ``path``."""
        kind = "parquet" if path.suffix == ".parquet" else "csv"
        self._connection.execute(f"copy chk_usage_rejects to {literal(path)} (format {kind})")

    def reasons(self) -> list[tuple[str, int, list[int], str, list[str]]]:
        """(reason, how many, the first source rows, an example, where these lie), most frequent first.

        A row that is none has its line's number instead, negative.
        """
        query = (
            "select reason, sum(lines)::BIGINT, list_sort(arg_min(source_row, number, 3)), "
            "coalesce(any_value(subject), ''), list(place order by nth) filter (where nth <= 3) from "
            "(select *, row_number() over (partition by reason order by abs(number)) as nth from chk_usage_rejects) "
            "group by reason order by 2 desc, reason"
        )
        return list(self._rows(query))

    def summary(self, limit: int) -> list[dict[str, Any]]:
        """The first rows of ``out_usage_summary``."""
        columns = ("meter", "account", "measurements", "rejected", "first_day", "last_day")
        query = f"select {', '.join(columns)} from out_usage_summary limit {int(limit)}"
        return [dict(zip(columns, row, strict=True)) for row in self._rows(query)]

    def one(self, query: str) -> tuple[Any, ...]:
        """The only row of a query."""
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row

    def _rows(self, query: str, parameters: object = None) -> Iterator[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute(query, parameters)
            while batch := cursor.fetchmany(2_000):
                yield from batch

    def _find_suspects(self) -> None:
        """Halves of uids that occur more than once; in parts, so that the groups of one fit into memory."""
        rows = int(self.one("select count(*) from stg_usage")[0])
        parts = rows // ROWS_PER_PART + 1
        self._connection.execute("create or replace table int_usage_suspects (twin UBIGINT)")
        for part in range(parts):
            # Without the casts DuckDB divides as HUGEINT, which takes ten times as long.
            self._connection.execute(
                "insert into int_usage_suspects select twin from stg_usage where reason is null "
                "and twin % $parts::UBIGINT = $part::UBIGINT group by twin having count(*) > 1",
                {"parts": parts, "part": part},
            )

    def _number_equal_rows(self) -> None:
        """Rows that are equal in every column get a uid each, by their place among them."""
        self._connection.execute(
            "update stg_usage set uid = numbered.uid, twin = hash(numbered.uid) from (select number, "
            "left(sha256(uid || ':' || row_number() over same), 40) as uid, row_number() over same as place "
            "from stg_usage semi join int_usage_suspects using (twin) where reason is null "
            "window same as (partition by uid order by number)) as numbered "
            "where stg_usage.number = numbered.number and numbered.place > 1"
        )
        self._connection.execute("delete from int_usage_suspects")

    def _land_contents(self) -> None:
        """A hash of all columns of each row that shares its key with another: the input is read again for these."""
        self._connection.execute("create or replace table int_usage_contents (source_row BIGINT, content UBIGINT)")
        some = self.one("select exists (from int_usage_suspects)")[0]
        if self._landed is None or not some:
            return
        source = self._landed.shape.source
        self._connection.execute(
            f'insert into int_usage_contents select "{ROW}", hash({whole_row(source)}) from ({relation(source)}) '
            f'where "{ROW}" in (select source_row from stg_usage semi join int_usage_suspects using (twin) '
            "where reason is null)"
        )


@contextmanager
def usage_opened(path: Path) -> Iterator[UsageFile]:
    """Open a run's staging file for usage, for the length of a block.

    Raises:
        RetriableError: MB-UNAVAILABLE, the disk is full, or memory does not suffice for what is left of it.
    """
    with closing_well(UsageFile(path)) as file:
        yield file


@contextmanager
def closing_well(file: OfFile) -> Iterator[OfFile]:
    """The file for the length of a block; what its disk or memory refuse is told in a line."""
    try:
        yield file
    except duckdb.OutOfMemoryException as failure:
        if "temp_directory" in str(failure):  # spilled to a disk that is full
            raise RetriableError("MB-UNAVAILABLE", f"the staging file: {first_line(failure)}", remedy=ROOM) from failure
        if "bad allocation" in str(failure):  # not DuckDB's own limit: the machine has no more
            raise Exhausted("MB-MEMORY", f"the staging file: {first_line(failure)}") from failure
        raise SetupError(
            "MB-USAGE-INPUT", f"the rows need more memory than there is: {first_line(failure)}", remedy=_TOO_WIDE
        ) from failure
    except duckdb.InvalidInputException as failure:  # rows that share a key are read once more, with all columns
        raise SetupError(
            "MB-USAGE-INPUT", f"the input: {first_line(failure)}", remedy="Write the file anew; nothing was sent."
        ) from failure
    except _OF_THE_FILE as failure:
        raise RetriableError("MB-UNAVAILABLE", f"the staging file: {first_line(failure)}", remedy=ROOM) from failure
    finally:
        file.close()


_TOO_WIDE = "Another run would end the same: send fewer or shorter texts of each row, or split the input."
