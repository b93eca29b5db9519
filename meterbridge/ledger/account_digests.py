"""Hashes of what m3ter's accounts look like, so that a new customer is compared with all without reading them all.

A cache: whatever is missing or outdated is read from m3ter again; the next full run replaces the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from meterbridge.ledger.schema import account_digests
from meterbridge.ledger.transaction import Reader, Writer, chunks, upsert


@dataclass(frozen=True, slots=True)
class AccountDigest:
    """An account by id, and the hashes of its e-mail and its name; None where it has none of its own."""

    id: str
    email: str | None
    name: str | None


def put(tx: Writer, accounts: Iterable[AccountDigest]) -> None:
    """Store what the accounts look like now."""
    for some in chunks({one.id: one for one in accounts}.values()):
        rows = [
            {"connection": tx.connection, "account_id": one.id, "email": one.email, "name": one.name} for one in some
        ]
        upsert(tx, account_digests, rows, stamps=())


def clear(tx: Writer) -> None:
    """Forget all, because all are put anew."""
    tx.execute(delete(account_digests).where(account_digests.c.connection == tx.connection))


def known(rx: Reader, ids: Iterable[str]) -> set[str]:
    """Those of the accounts that were put before."""
    found: set[str] = set()
    for some in chunks(ids):
        query = select(account_digests.c.account_id).where(
            account_digests.c.connection == rx.connection, account_digests.c.account_id.in_(some)
        )
        found |= set(rx.execute(query).scalars())
    return found


def like(rx: Reader, emails: Collection[str], names: Collection[str]) -> set[str]:
    """Accounts with one of these e-mails or one of these names, by their hashes."""
    found: set[str] = set()
    for column, wanted in ((account_digests.c.email, emails), (account_digests.c.name, names)):
        for some in chunks(sorted(wanted)):
            query = select(account_digests.c.account_id).where(
                account_digests.c.connection == rx.connection, column.in_(some)
            )
            found |= set(rx.execute(query).scalars())
    return found
