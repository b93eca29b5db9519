"""The stop switch on whole runs and on the command line: nothing leaves, everybody is told, then all goes on."""

import json
import sqlite3
from contextlib import closing

import pytest

from flows.reconcile import reconcile
from flows.undo_run import undo_run
from meterbridge.errors import SetupError
from meterbridge.ledger import holds
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth
from tests.flows.test_commands import call, told


def switch(what, customer=holds.ALL):
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        assert getattr(holds, what)(tx, customer, "ann", "odd amounts")
        tx.commit()
    ledger.close()


def put_another_customer(world):
    with world.lock:
        put_customer(world, "cust-other", "Other Ltd", "EUR")
        seed = SubscriptionSeed("sub-other", "cust-other", ("api-pro-EUR-Monthly",), epoch(2026, 1, 1))
        put_subscription(world, seed)


def with_another_customer(open_sandbox):
    return BilledMonth(open_sandbox, charge=False, before=[put_another_customer])


def owners(month):
    lines = (line for row in month.invoices for line in row["line_items"])
    return {line["subscription_id"] for line in lines if line["entity_type"] in ("charge_item_price", "adhoc")}


def test_on_hold_nothing_is_charged_and_afterwards_everything_once(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    switch("put")
    month.world.log.clear()
    for _ in range(2):
        report = month.charge()
        assert (report.writes, report.exit_code, month.writes()) == (0, 3, [])
        assert [(one["code"], "odd amounts" in one["message"]) for one in report.notices] == [("MB-ON-HOLD", True)]
        assert report.held > 0
    assert month.charge(dry_run=True).notices
    assert reconcile.fn().notices[0]["code"] == "MB-ON-HOLD"
    switch("release")
    report = month.charge()
    assert (report.exit_code, report.notices, sum(month.ours())) == (0, [], month.total())


def test_an_undo_takes_nothing_off_while_all_is_held(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    charged = month.charge()
    switch("put")
    month.world.log.clear()
    assert undo_run.fn(charged.flow_run_id, "ann").exit_code == 3
    assert (month.writes(), sum(month.ours())) == ([], month.total())
    switch("release")
    month.charge()
    assert month.ours() == []


def test_a_customers_hold_stops_nobody_else(open_sandbox):
    month = with_another_customer(open_sandbox)
    switch("put", "cust-single")
    report = month.charge()
    assert (owners(month), report.exit_code) == ({"sub-other"}, 3)
    mapped = {external for _, external in month.mapped("Bill")}
    assert len(mapped) == 1
    switch("release", "cust-single")
    assert month.charge().exit_code == 0
    assert sum(month.ours()) == sum(month.total(bill) for bill in month.bills)


def test_a_hold_that_comes_while_a_run_sends_stops_it_at_the_next_write(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox, charge=False)
    seen = []

    def after_the_first(entry):
        if entry.vendor == "chargebee" and entry.method == "POST" and not seen:
            seen.append(entry.path)
            switch("put")

    monkeypatch.setattr(month.world, "log", Watched(after_the_first))
    report = month.charge()
    assert (len(month.ours()), report.exit_code) == (1, 3)
    switch("release")
    month.charge()
    assert sum(month.ours()) == month.total()


class Watched(list):
    def __init__(self, look):
        super().__init__()
        self.look = look

    def append(self, entry):
        super().append(entry)
        self.look(entry)


def test_the_command_line_says_who_and_why_everywhere(open_sandbox):
    BilledMonth(open_sandbox, charge=False)
    assert call("hold", "--by", "ann", "--note", "odd amounts").exit_code == 0
    with pytest.raises(SetupError, match="on hold already"):
        call("hold", "--by", "ann", "--note", "x")
    with pytest.raises(SetupError, match="must say something"):
        call("hold", "--by", " ", "--note", "x")
    assert told("hold", "--customer", "c1", "--by", "bob", "--note", "disputed")["holds"][1]["customer_id"] == "c1"
    found = call("status", "--json")
    assert (found.exit_code, [one["code"] for one in json.loads(found.stdout)["notices"]]) == (3, ["MB-ON-HOLD"] * 2)
    assert "odd amounts" in call("status").output
    assert "odd amounts" in call("quarantine", "list").output
    assert told("release", "--by", "ann", "--note", "fine")["holds"][0]["customer_id"] == "c1"
    assert call("release", "--customer", "c1", "--by", "ann", "--note", "fine").exit_code == 0
    assert told("status")["notices"] == []


def test_a_backup_is_whole_while_somebody_writes_and_never_overwrites(open_sandbox, tmp_path):
    month = BilledMonth(open_sandbox)
    copy = tmp_path / "copies" / "ledger.backup"
    copy.parent.mkdir()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        busy.execute("delete from intents")
        assert told("ledger", "backup", str(copy))["bytes"] == copy.stat().st_size
        busy.execute("ROLLBACK")
    assert (copy.stat().st_mode & 0o077, [*copy.parent.iterdir()]) == (0, [copy])
    with closing(sqlite3.connect(copy)) as database:
        [found] = database.execute(
            "select count(*) from intents where kind = 'charge' and state = 'applied'"
        ).fetchone()
    assert found == len(month.charges())
    with pytest.raises(SetupError, match="is there already"):
        call("ledger", "backup", str(copy))


def test_an_emptied_ledger_is_told_by_status_and_doctor(open_sandbox, tmp_path):
    BilledMonth(open_sandbox)
    for file in tmp_path.glob("ledger.sqlite3*"):
        file.unlink()
    (tmp_path / "ledger.sqlite3").touch()
    found = call("status", "--json")
    assert (found.exit_code, json.loads(found.stdout)["notices"][0]["code"]) == (3, "MB-LEDGER-BEHIND")
    checked = call("doctor", "--json")
    assert (checked.exit_code, "MB-LEDGER-BEHIND" in checked.stdout) == (2, True)


def test_a_copy_beside_its_original_is_told_and_charges_nothing_twice(open_sandbox, tmp_path, monkeypatch):
    month = BilledMonth(open_sandbox)
    total = sum(month.ours())
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as one, closing(sqlite3.connect(tmp_path / "c")) as two:
        one.backup(two)
    month.recalculate("60", "7")
    assert (sum(month.ours()), month.charge().exit_code, sum(month.ours())) == (total, 0, 6700)
    monkeypatch.setenv("METERBRIDGE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("METERBRIDGE_LEDGER_URL", f"sqlite:///{tmp_path}/c")
    for _ in range(2):
        report = month.charge()
        assert ([one["code"] for one in report.notices], sum(month.ours())) == (["MB-LEDGER-COPY"], 6700)
