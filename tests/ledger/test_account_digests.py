"""What m3ter's accounts look like, kept as hashes: found by either, replaced as a whole, a connection of its own."""

from __future__ import annotations

from meterbridge.ledger import account_digests
from meterbridge.ledger.account_digests import AccountDigest
from meterbridge.ledger.ledger import Ledger
from tests.ledger.conftest import OpenLedger


def put(ledger: Ledger, *accounts: AccountDigest) -> None:
    with ledger.write() as tx:
        account_digests.put(tx, accounts)
        tx.commit()


def like(ledger: Ledger, emails: set[str], names: set[str]) -> set[str]:
    with ledger.read() as rx:
        return account_digests.like(rx, emails, names)


def test_an_account_is_found_by_its_email_or_its_name(ledger: Ledger) -> None:
    put(ledger, AccountDigest("a", "e1", "n1"), AccountDigest("b", "e1", None), AccountDigest("c", None, None))
    assert like(ledger, {"e1"}, set()) == {"a", "b"}
    assert like(ledger, {"e2"}, {"n1"}) == {"a"}
    assert like(ledger, set(), set()) == set()
    with ledger.read() as rx:
        assert account_digests.known(rx, ["a", "c", "z"]) == {"a", "c"}


def test_a_later_look_replaces_an_earlier_one_and_all_can_go(ledger: Ledger) -> None:
    put(ledger, AccountDigest("a", "e1", "n1"))
    put(ledger, AccountDigest("a", "e2", None))
    assert (like(ledger, {"e1"}, {"n1"}), like(ledger, {"e2"}, set())) == (set(), {"a"})
    with ledger.write() as tx:
        account_digests.clear(tx)
        tx.commit()
    assert like(ledger, {"e2"}, set()) == set()


def test_connections_do_not_see_each_other(open_ledger: OpenLedger) -> None:
    ours, others = open_ledger(), open_ledger("other")
    put(ours, AccountDigest("a", "e1", None))
    assert like(others, {"e1"}, set()) == set()


def test_thousands_are_put_and_looked_for_at_once(ledger: Ledger) -> None:
    put(ledger, *(AccountDigest(f"a{n}", f"e{n}", f"n{n}") for n in range(5_000)))
    assert len(like(ledger, {f"e{n}" for n in range(5_000)}, set())) == 5_000
