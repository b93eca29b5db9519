"""A billed month whose ledger can be put back to what it was, by several hosts that share it."""

import os
import sqlite3
from contextlib import closing

from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_subscription
from tests.flows.billed_month import BilledMonth

SECOND = SubscriptionSeed(
    "sub-second", "cust-single", ("support-EUR-Monthly", "messages-EUR-Monthly"), epoch(2026, 1, 1)
)


def with_a_second_subscription(world):
    """The customer has another subscription."""
    with world.lock:
        put_subscription(world, SECOND)


class RestoredMonth(BilledMonth):
    """The ledger is one SQLite file; each host has a home of its own beside it."""

    def __init__(self, open_sandbox, tmp_path, *, two=False, before=(), **more):
        self.folder = tmp_path
        self.copies = {}
        before = [*before, *([with_a_second_subscription] if two else [])]
        more["METERBRIDGE_LEDGER_URL"] = f"sqlite:///{tmp_path}/shared.sqlite3"
        super().__init__(open_sandbox, charge=False, before=before, **more)

    def on(self, host):
        """From now on the commands run on another host: it shares the ledger and nothing else."""
        home = self.folder / f"home-{host}"
        home.mkdir(exist_ok=True)
        os.environ["METERBRIDGE_HOME"] = str(home)
        return self

    def back_up(self, name="backup"):
        self._copy(self.folder / "shared.sqlite3", self.folder / name)

    def restore(self, name="backup"):
        """Put the copy in the ledger's place, as a person does who says so to nobody."""
        self.lose()
        self._copy(self.folder / name, self.folder / "shared.sqlite3")

    def lose(self):
        """The ledger's file is gone."""
        for file in self.folder.glob("shared.sqlite3*"):
            file.unlink()

    def expire_leases(self):
        """What minutes do to the leases of a run that is gone."""
        with closing(sqlite3.connect(self.folder / "shared.sqlite3")) as database, database:
            database.execute("UPDATE intents SET lease_until = 1 WHERE lease_until IS NOT NULL")

    def setting(self, name, value):
        """Another value of a setting from now on."""
        os.environ[name] = value

    def _copy(self, source, target):
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)

    def standing(self):
        """Minor units of our lines on all invoices that are not voided."""
        return sum(self.ours())

    def wanted(self):
        """What all bills want together."""
        return sum(self.total(bill) for bill in self.bills)
