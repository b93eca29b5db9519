"""What a person decides about a record that was set aside: try again, or close it at its amount. Needs no vendor."""

from __future__ import annotations

from meterbridge.ledger import bills, intents, mappings, quarantine
from meterbridge.ledger.ledger import Writer
from meterbridge.ledger.quarantine import QuarantineRow
from meterbridge.rules.explained import WITHDRAWN
from meterbridge.rules.records import Key


def retry(tx: Writer, row: QuarantineRow) -> bool:
    """The next run decides the record again, what a dismissal settled too; False if it is not set aside."""
    if not quarantine.retry(tx, row.kind, row.key):
        return False
    if row.state == "dismissed":
        _settle(tx, row, -settled_by(row), "tried again")
    _let_go(tx, row)
    return True


def dismiss(tx: Writer, row: QuarantineRow, by: str, note: str) -> int | None:
    """Close the record as dealt with by hand; a portion of a bill counts as settled at its amount.

    Returns:
        The amount settled, in minor units; None where it is no matter of a portion's money.
    """
    quarantine.dismiss(tx, row.kind, row.key, by, note)
    intents.dismiss(tx, row.kind, row.key)
    _let_go(tx, row)
    settled = settled_by(row)
    return settled if _settle(tx, row, settled, f"settled by {by}: {note}") else None


def let_go(tx: Writer, key: Key) -> None:
    """A portion whose lines were taken off by `undo` is decided again from now on."""
    mappings.deactivate(tx, "undone", key[:2])


def _let_go(tx: Writer, row: QuarantineRow) -> None:
    """The same for a portion whose lines were another one's as they were taken off, where nothing is asked of that."""
    let_go(tx, row.key)
    for one in mappings.by_scope(tx, "undone", row.key[0]) if row.code == "MB-UNDONE" else ():
        asked = quarantine.get(tx, "charge", one.key)
        if asked is None or asked.state != "open":
            mappings.deactivate(tx, "undone", one.key)


def settled_by(row: QuarantineRow) -> int:
    """What the person made up for: missing money; or, negative, the lines taken off for a withdrawn bill."""
    amount = row.amount or 0
    return -amount if row.code in WITHDRAWN else amount


def _settle(tx: Writer, row: QuarantineRow, amount: int, reason: str) -> bool:
    if row.kind != "charge" or len(row.key) < 2 or not row.currency or not amount:
        return False
    settle(tx, row.key[:2], amount, row.currency, reason)
    return True


def settle(tx: Writer, portion: Key, amount: int, currency: str, reason: str) -> None:
    """Count an amount (minor units) of a portion (bill, subscription) as settled by a person."""
    bill_id, subscription_id = portion
    known = bills.get_portion(tx, bill_id, subscription_id)
    before = known.wanted if known is not None and known.state == "settled" else 0
    if before + amount:
        bills.put_portion(tx, bills.Portion(bill_id, subscription_id, currency, before + amount, "settled", reason))
    elif known is not None:
        bills.put_portion(tx, bills.Portion(bill_id, subscription_id, currency, 0, "quarantined", reason))
