"""A ledger older than the world, put in place by somebody who told nobody: every bill's total stands once."""

import pytest

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
