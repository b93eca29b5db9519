"""A person who works with the bridge: approves what it proposes, undoes runs, and deals with what is set aside.

The dice belong to (step, act): an act that is left out changes nothing of the others.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import bills, mappings, proposals, quarantine
from meterbridge.ledger.quarantine import QuarantineRow
from tasks import set_aside
from tasks.mark_invoiced import OPEN, mark_invoiced
from tests.histories.bridge import Bridge

NAME = "ann"
WAYS = ("sound", "sound", "struck", "killed")


@dataclass
class Clerk:
    """``approved`` are the change sets that this person ever approved, ``happened`` how often each act was done."""

    bridge: Bridge
    seed: int
    approved: set[str] = field(default_factory=set)
    happened: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def step(self, acts: Mapping[Act, float]) -> list[str]:
        """Whatever the dice say; what was done, in words."""
        self.steps += 1
        told = []
        for act, chance in acts.items():
            name = act.__name__
            dice = random.Random(f"{self.seed} clerk {self.steps} {name}")
            done = act(self, dice) if dice.random() < chance else None
            if done:
                self.happened[name] += 1
                told.append(f"{NAME}: {done}")
        return told

    def proposed(self) -> list[str]:
        """The change sets that wait for an approval, the oldest first."""
        with self.bridge.ledger() as ledger, ledger.read() as rx:
            return list(dict.fromkeys(one.change_set for one in proposals.awaiting(rx)))

    def approve_all(self) -> list[str]:
        """Approve whatever waits, undisturbed; what became of each change set, in words."""
        return [self.let_pass(one, random.Random(0), ("sound",)) for one in self.proposed()]

    def let_pass(self, change_set: str, dice: random.Random, ways: tuple[str, ...]) -> str:
        """Approve one change set, in one of these ways."""
        self.approved.add(change_set)
        end = self.bridge.disturbed("approve", dice, ways, change_set=change_set, by=NAME)
        return f"{change_set}, {end}"

    def choose(self, dice: random.Random, state: quarantine.State | None) -> QuarantineRow | None:
        """One of the portions that are set aside (by default those that nobody has closed)."""
        with self.bridge.ledger() as ledger, ledger.read() as rx:
            rows = [row for row in quarantine.list(rx, state) if row.kind == "charge" and row.amount]
        rows = sorted((row for row in rows if len(row.key) > 1), key=lambda row: row.key)
        return dice.choice(rows) if rows else None


Act = Callable[[Clerk, random.Random], str | None]
"""What a person may do; returns it in words, None where there is nothing to do."""


def approve_set(clerk: Clerk, dice: random.Random) -> str | None:
    """One of the change sets that wait; bills and drafts may have changed since it was proposed."""
    waiting = clerk.proposed()
    return f"approves {clerk.let_pass(dice.choice(waiting), dice, WAYS)}" if waiting else None


def undo_run(clerk: Clerk, dice: random.Random) -> str | None:
    """One of the runs that lines of ours are from."""
    with clerk.bridge.ledger() as ledger, ledger.read() as rx:
        lines = [one for one in mappings.all(rx, "charge", active_only=True) if one.remote_id]
    drafts = {one["id"] for one in clerk.bridge.world.chargebee.invoices.rows() if one["status"] == "pending"}
    # Run ids come from no dice: what names a run the same in each play is where its lines are.
    runs = {(one.state["invoice_id"] not in drafts, one.key): one.run_id for one in lines}
    if not runs:
        return None
    names = list(dict.fromkeys(runs[place] for place in sorted(runs)))
    run_id = names[0] if dice.random() < 0.7 else dice.choice(names)
    return f"undoes a run: {clerk.bridge.disturbed('undo', dice, WAYS, run_id=run_id, by=NAME)}"


def retry_aside(clerk: Clerk, dice: random.Random) -> str | None:
    """What is set aside, or was dismissed, is decided again."""
    row = clerk.choose(dice, dice.choice((None, None, "dismissed")))
    if row is None:
        return None
    with clerk.bridge.ledger() as ledger, ledger.write() as tx:
        done = set_aside.retry(tx, row)
        tx.commit()
    return f"says retry of {row.code} {row.amount} of {row.key}, which is {row.state}" if done else None


def dismiss_aside(clerk: Clerk, dice: random.Random) -> str | None:
    """It was dealt with outside, at its amount."""
    row = clerk.choose(dice, None)
    if row is None:
        return None
    with clerk.bridge.ledger() as ledger, ledger.write() as tx:
        settled = set_aside.dismiss(tx, row, NAME, "by hand")
        tx.commit()
    return f"dismisses {row.code} {row.amount} of {row.key}: {settled} settled"


def mark_bill(clerk: Clerk, dice: random.Random) -> str | None:
    """A bill, or one portion of it, was invoiced outside."""
    with clerk.bridge.ledger() as ledger, ledger.write() as tx:
        places = sorted((one.bill_id, one.subscription_id) for one in bills.portions(tx) if one.state in OPEN)
        if not places:
            return None
        bill_id, subscription_id = dice.choice(places)
        whole = dice.random() < 0.5
        try:
            settled = mark_invoiced(tx, bill_id, None if whole else subscription_id, NAME, "by hand")
        except MeterbridgeError as refusal:
            return f"cannot mark bill {bill_id} as invoiced: {refusal}"
        tx.commit()
    return f"marks bill {bill_id} as invoiced: {[(one.subscription_id, one.amount) for one in settled]}"


def restore(clerk: Clerk, dice: random.Random) -> str | None:
    """The ledger of some steps ago is put back: told and rebuilt at once, found behind its note, or without a note.

    What people settled and undid since is forgotten with it, so what lacks of it may be charged: it is proposed first.
    """
    bridge = clerk.bridge
    ago = dice.randint(1, 4)
    if ago > len(bridge.backups):
        return None
    way = dice.choice(("told", "noted", "unnoted"))
    bridge.restore(bridge.backups[-ago], noted=way != "unnoted")
    words = f"puts the ledger of {ago} steps ago back ({way})"
    if way == "unnoted":
        return words
    if way == "noted":
        end = bridge.disturbed("bills", dice, ("sound",))
        words += f"; bills: {end}; {bridge.writes()}"
        if "MB-LEDGER-BEHIND" not in end:
            return words
        if bridge.writes():
            raise AssertionError(f"a run by a ledger that is behind wrote {bridge.writes()}")
    return f"{words}; {bridge.disturbed('rebuild', dice, WAYS)}, {bridge.disturbed('rebuild', dice, ('sound',))}"


ACTS: Mapping[Act, float] = {
    restore: 0.08,
    approve_set: 0.6,
    undo_run: 0.12,
    retry_aside: 0.25,
    dismiss_aside: 0.1,
    mark_bill: 0.08,
}
"""What a person may do after the runs of a step, and how often."""
