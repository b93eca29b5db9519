"""A ledger older than the world, put in place by somebody who told nobody: every bill's total stands once."""

import pytest

from meterbridge.errors import SetupError
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import asides
from tests.flows.restored import RestoredMonth

HOSTS = pytest.mark.parametrize("host", ["a host that knew the ledger", "a host that never ran"])


def correction_after_the_backup(open_sandbox, tmp_path, host, **more):
    """50.00 + 7.00 charged, the draft closes, backup; 8.50 more go on the next draft by another host's run."""
    month = RestoredMonth(open_sandbox, tmp_path, **more)
    month.on("one").recalculate("50", "7")
    month.charge()
    month.close()
    month.pass_days(25)
    month.charge()
    if host == "a host that knew the ledger":
        month.on("idle").charge()
    month.back_up()
    month.on("one").recalculate("58.5", "7")
    assert month.charge().applied["charge.create"] == 1
    assert month.standing() == 6550
    return month


@HOSTS
@pytest.mark.parametrize("closed", [False, True], ids=["draft-open", "draft-closed"])
def test_a_correction_that_was_sent_after_the_backup_stands_once(open_sandbox, tmp_path, host, closed):
    month = correction_after_the_backup(open_sandbox, tmp_path, host)
    if closed:
        month.close()
        month.pass_days(31)
    month.restore()
    month.on("idle")
    for _ in range(2):
        report = month.charge()
        assert "charge.create" not in report.applied
        assert month.standing() == 6550
    assert month.charge().quarantined == []


@HOSTS
@pytest.mark.parametrize("closed", [False, True], ids=["draft-open", "draft-closed"])
def test_a_portion_that_waited_at_the_backup_and_was_sent_since_stands_once(open_sandbox, tmp_path, host, closed):
    month = RestoredMonth(open_sandbox, tmp_path, two=True)
    month.on("one")
    later = [row for row in month.invoices if row["status"] == "pending" and row["subscription_id"] == "sub-second"]
    for row in later:  # no draft for it yet
        month.save_invoice(row, deleted=True)
    assert [row["key"][1] for row in month.charge().waiting] == ["sub-second"]
    if host == "a host that knew the ledger":
        month.on("idle").charge()
    month.back_up()
    for row in later:
        month.save_invoice(row, deleted=False)
    month.on("one").charge()
    assert month.standing() == month.wanted()
    if closed:
        for row in [row for row in month.invoices if row["status"] == "pending"]:
            month.close(row)
        month.pass_days(31)
    month.restore()
    month.on("idle")
    for _ in range(2):
        report = month.charge()
        assert "charge.create" not in report.applied
        assert month.standing() == month.wanted()
    assert asides(month.charge()) == []


@HOSTS
@pytest.mark.parametrize("amounts", [("60", "7"), ("45", "5"), ("50", "0")], ids=["up", "down", "a-line-less"])
def test_lines_that_were_replaced_after_the_backup_stand_once(open_sandbox, tmp_path, host, amounts):
    month = RestoredMonth(open_sandbox, tmp_path)
    month.on("one").recalculate("50", "7")
    month.charge()
    if host == "a host that knew the ledger":
        month.on("idle").charge()
    month.back_up()
    month.on("one").recalculate(*amounts)
    month.charge()
    wanted = month.wanted()
    assert month.standing() == wanted
    month.restore()
    month.on("idle")
    for _ in range(2):
        month.charge()
        assert month.standing() == wanted


@HOSTS
@pytest.mark.parametrize("closed", [False, True], ids=["draft-open", "draft-closed"])
def test_a_backup_from_the_middle_of_a_run_charges_nothing_twice(open_sandbox, tmp_path, host, closed, monkeypatch):
    month = RestoredMonth(open_sandbox, tmp_path, two=True)
    month.on("one")
    if host == "a host that knew the ledger":
        month.on("idle").charge(dry_run=True)
        month.on("one")
    monkeypatch.setattr(month.world, "log", Watched(lambda: month.back_up()))
    month.charge()
    assert month.standing() == month.wanted()
    month.pass_days(1)
    if closed:
        for row in [row for row in month.invoices if row["status"] == "pending"]:
            month.close(row)
    month.restore()
    month.expire_leases()
    month.on("idle")
    for _ in range(3):
        month.charge()
        assert month.standing() == month.wanted()


def test_three_hosts_in_turn_charge_every_bill_once(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path, two=True)
    for host in ("one", "two", "three", "one"):
        month.on(host).charge()
        assert month.standing() == month.wanted()
        use_and_bill(month.world)
    month.back_up()
    month.on("two").charge()
    assert month.standing() == month.wanted()
    month.restore()
    month.on("three").charge()
    assert month.standing() == month.wanted()
    with pytest.raises(SetupError, match="MB-LEDGER-BEHIND"):
        month.on("two").charge()


class Watched(list):
    """A log that does something at the first charge that comes in."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def append(self, entry):
        super().append(entry)
        if entry.vendor == "chargebee" and entry.method == "POST" and self.act:
            act, self.act = self.act, None
            act()
