"""The law of money, watched at each write: none of ours makes a bill's excess positive, or more positive.

While anything of a bill stands under another payer or in another currency, nothing positive of it leaves.

Excess = what stands - what the bill wants - what a person released, all read from the sandbox's rows at the moment
the write lands there: each line and credit that we book is marked with its bill, and the mark goes along when a draft
closes or an unbilled charge is invoiced. A ledger that is lost, older or wrong changes nothing of that. It is asked
for what no vendor knows: which bill a write is for, what persons settled and released, and which of its charges
were lowered to nothing. No rule of the product is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from meterbridge.ledger import intents, mappings, releases, schema
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Ledger, Reader
from meterbridge.sandbox.chargebee import entry
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import HttpReply, HttpRequest
from meterbridge.sandbox.world import World
from tests.histories.known import settled
from tests.histories.lines import STANDING
from tests.histories.per_bill import minor

Sums = Counter[str]
"""Minor units by bill id."""

Place = tuple[str, str]
"""A line's payer and currency."""


class OfBill(str):
    """A line's description that remembers for which bills the line stands: rows are copied, their texts are not."""

    stands_for: Mapping[str, int]
    """The amounts that the line counts for each bill beside its own; the first is the bill that it was booked for."""


@dataclass
class Watch:
    """``broken`` tells each write that broke the law, ``booked`` counts the writes that booked money.

    ``ledger`` opens the ledger that the bridge works with at that moment.
    """

    world: World
    ledger: Callable[[], AbstractContextManager[Ledger]]
    broken: list[str] = field(default_factory=list)
    booked: int = 0
    _credits: dict[str, str] = field(default_factory=dict)
    """Bill ids by the ids of credits: those keep their ids."""

    def around(self, request: HttpRequest, execute: Callable[[], HttpReply]) -> HttpReply:
        """Let a write of ours land and compare the accounts of its bills before and after it."""
        key = entry.idempotency_key(request)
        if request.method != "POST" or key is None:
            return execute()
        before, lines, notes = self._standing(), _ids(self._lines()), _ids(self._given())
        places = self._places()
        reply = execute()
        new = (line for line in self._lines() if line["id"] not in lines)
        new_lines = [line for line in new if not isinstance(line["description"], OfBill)]
        new_credits = [row for row in self._given() if row["id"] not in notes]
        with self.ledger() as ledger, ledger.read() as rx:
            intent = _intent(rx, key)
            if new_lines or new_credits:
                self._mark(intent, new_lines, new_credits, f"{request.path} with key {key}")
            after = self._standing()
            if after != before:
                self._judge(rx, request, before, after)
            if new_lines:
                self._judge_places(rx, f"{request.method} {request.path}", places, _ids(iter(new_lines)))
        return reply

    def _mark(self, intent: IntentRow | None, lines: list[Row], given: list[Row], words: str) -> None:
        self.booked += 1
        if intent is None:
            self.broken.append(f"{words} booked what no intent of the ledger asked for: {lines} {given}")
            return
        bill_id = intent.payload["bill_id"]
        for line in lines:
            marked = OfBill(line["description"])
            parts = Counter({bill_id: 0})
            for part in intent.wanted.get("carried", ()):
                parts[bill_id] += part["amount"]
                parts[part["bill_id"]] -= part["amount"]
            marked.stands_for = parts
            line["description"] = marked
        for row in given:
            self._credits[row["id"]] = bill_id

    def _judge(self, rx: Reader, request: HttpRequest, before: Sums, after: Sums) -> None:
        known, bills = _known(rx), self.world.m3ter.bills
        for bill_id in sorted(after.keys() | before.keys()):
            if after[bill_id] <= before[bill_id]:
                continue
            bill = bills.get(bill_id)
            wanted = minor(bill) if bill is not None and bill["status"] == "APPROVED" else 0
            excess = after[bill_id] + known[bill_id] - wanted
            if excess > 0:
                status = "deleted" if bill is None else bill["status"]
                self.broken.append(
                    f"bill {bill_id} ({status}) wants {wanted}; {before[bill_id]} stood at Chargebee, and "
                    f"{known[bill_id]} by the ledger alone (settled, lowered to nothing, released); "
                    f"after {request.method} {request.path} {request.body.decode()} {after[bill_id]} stand: "
                    f"{excess} too much"
                )

    def _judge_places(self, rx: Reader, words: str, before: dict[str, set[Place]], new: set[Any]) -> None:
        """Check that a booked line goes where the rest of its bill has stood until now."""
        released = {bill_id for bill_id, _, _ in releases.sums(rx)}
        for line, place in self._placed():
            bill_id = next(iter(line["description"].stands_for)) if isinstance(line["description"], OfBill) else None
            if line["id"] not in new or bill_id is None or bill_id in released or line["amount"] <= 0:
                continue
            family = self._family(bill_id)
            apart = {one for one in before.get(bill_id, set()) if not _is_together(one, place, family)}
            if apart:
                self.broken.append(f"bill {bill_id}: {words} booked {line['amount']} for {place} while {apart} stand")

    def _places(self) -> dict[str, set[Place]]:
        """By bill, under which payers and in which currencies something of it stands."""
        found: dict[str, set[Place]] = {}
        for line, place in self._placed():
            if isinstance(line["description"], OfBill) and line["amount"]:
                found.setdefault(next(iter(line["description"].stands_for)), set()).add(place)
        return found

    def _family(self, bill_id: str) -> set[str]:
        """The customer of the bill's account, or of that one's parent, and whoever is invoiced in its place."""
        m3ter = self.world.m3ter
        bill = m3ter.bills.get(bill_id)
        account = None if bill is None else m3ter.accounts.get(bill["accountId"])
        ids = {account["id"], account.get("parentAccountId")} if account else set()
        mapped = (row for row in m3ter.mappings.rows() if row["m3terEntity"] == "Account" and row["m3terId"] in ids)
        own = {row["externalId"] for row in mapped}
        customers = filter(None, map(self.world.chargebee.customers.get, own))
        owners = {one.get("relationship", {}).get("invoice_owner_id") for one in customers}
        return own | (owners - {None})

    def _standing(self) -> Sums:
        """Return the sum that stands at Chargebee for each bill, by the marks on its rows."""
        sums: Sums = Counter()
        for line in self._lines():
            text = line["description"]
            if isinstance(text, OfBill):
                sums[next(iter(text.stands_for))] += line["amount"]
                sums.update(text.stands_for)
        for row in self._given():
            if row["id"] in self._credits:
                sums[self._credits[row["id"]]] -= row["total"] if "total" in row else row["amount"]
        return sums

    def _lines(self) -> Iterator[Row]:
        return (line for line, _ in self._placed())

    def _placed(self) -> Iterator[tuple[Row, Place]]:
        for invoice in self.world.chargebee.invoices.rows():
            if invoice["status"] in STANDING and not invoice["deleted"]:
                place = (invoice["customer_id"], invoice["currency_code"])
                yield from ((line, place) for line in invoice["line_items"])
        for row in self.world.chargebee.unbilled_charges.rows():
            if not row["deleted"]:
                yield row, (row["customer_id"], row["currency_code"])

    def _given(self) -> Iterator[Row]:
        notes = self.world.chargebee.credit_notes.rows()
        yield from (row for row in notes if not row["deleted"] and row["status"] != "voided")
        yield from self.world.chargebee.promotional_credits.rows()


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Inside the block every write to this world's Chargebee is watched."""
    world, original = watch.world, entry.answer

    def answer(asked: World, request: HttpRequest) -> HttpReply:
        if asked is not world:
            return original(asked, request)
        return watch.around(request, lambda: original(asked, request))

    entry.answer = answer
    try:
        yield watch
    finally:
        entry.answer = original


def _ids(rows: Iterator[Row]) -> set[Any]:
    return {row["id"] for row in rows}


def _is_together(one: Place, other: Place, family: set[str]) -> bool:
    """True if the two places are of one payer and currency."""
    return one[1] == other[1] and (one[0] == other[0] or {one[0], other[0]} <= family)


def _intent(rx: Reader, key: str) -> IntentRow | None:
    """The intent that a request's idempotency key is of."""
    query = select(schema.intents.c.id).where(schema.intents.c.idempotency_key == key)
    found = rx.execute(query.order_by(schema.intents.c.id.desc()).limit(1)).scalar()
    return None if found is None else intents.get(rx, found)


def _known(rx: Reader) -> Sums:
    """Return the sum that counts for each bill and stands at no vendor: settled, lowered to nothing, less released."""
    sums: Sums = Counter()
    for (bill_id, _), amount in settled(rx).items():
        sums[bill_id] += amount
    for charge in mappings.all(rx, "charge", active_only=True):
        if not charge.remote_id:
            for part in charge.state.get("carried", ()):
                sums[charge.state["bill_id"]] += part["amount"]
                sums[part["bill_id"]] -= 0 if part.get("alone") else part["amount"]
    for bill_id, _, amount in releases.sums(rx):
        sums[bill_id] -= amount
    return sums
