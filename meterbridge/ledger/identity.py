"""Which database the ledger is: a copy, and one that was restored in another place, is another one.

A ledger has a name of its own for life, and copies share it. Where it is tells them apart: a file by its inode, a
PostgreSQL database by the numbers of server, database and table, and by how often the server went back in time.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from meterbridge.ledger import facts
from meterbridge.ledger.transaction import Reader, Writer

NAME = "ledger_name"
PLACE = "ledger_place"

_POSTGRESQL = (
    "SELECT current_database() AS name, d.oid::bigint AS database, 'intents'::regclass::oid::bigint AS made, "
    "(SELECT system_identifier FROM pg_control_system())::text AS server, "
    "(SELECT timeline_id FROM pg_control_checkpoint()) AS timeline "
    "FROM pg_database AS d WHERE d.datname = current_database()"
)
_STILL_THERE = "SELECT 1 FROM pg_database WHERE datname = :name AND oid = :number"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ledger is; ``where`` is a path or a database's name, ``exact`` tells two in the same place apart."""

    where: str
    exact: str

    @property
    def text(self) -> str:
        """As it is kept."""
        return json.dumps([self.where, self.exact])


def place(rx: Reader, path: Path | None) -> Place:
    """Where this ledger is.

    Args:
        path: The file of a SQLite ledger, None for PostgreSQL.
    """
    if path is not None:
        return Place(str(path), str(path.stat().st_ino))
    row = rx.ask(_POSTGRESQL).one()
    return Place(row.name, f"{row.server}/{row.timeline}/{row.database}/{row.made}")


def of(rx: Reader, path: Path | None) -> str:
    """The ledger's identity: its name and its place. Without a name yet it is nobody's."""
    name = facts.get(rx, NAME)
    return "" if name is None else f"{name} {place(rx, path).text}"


def settle(tx: Writer, path: Path | None) -> str:
    """Give the ledger its name if it has none, and keep where it is; returns its identity.

    A copy stays the copy of its original for as long as that one is there.
    """
    if facts.get(tx, NAME) is None:
        facts.put(tx, NAME, uuid.uuid4().hex)
    here = place(tx, path)
    if facts.get(tx, PLACE) != here.text and original(tx, path) is None:
        facts.put(tx, PLACE, here.text)
    return of(tx, path)


def original(rx: Reader, path: Path | None) -> str | None:
    """Where the ledger is that this one was copied from, if that one is still in its place; else None."""
    kept = facts.get(rx, PLACE)
    if kept is None:
        return None
    here, before = place(rx, path), Place(*json.loads(kept))
    if here.exact == before.exact:
        return None
    if path is None:
        server, _, number, _ = before.exact.split("/")
        same_server = here.exact.split("/")[0] == server and here.where != before.where
        there = same_server and rx.ask(_STILL_THERE, name=before.where, number=int(number)).first()
        return before.where if there else None
    other = Path(before.where)
    if other == path or not other.is_file() or str(other.stat().st_ino) != before.exact:
        return None
    return before.where
