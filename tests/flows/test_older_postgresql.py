"""The same on PostgreSQL: dumped while it works, put back into its own database, told and rebuilt."""

import subprocess

import psycopg
import pytest
from sqlalchemy import make_url

from flows.rebuild_ledger import rebuild_ledger
from meterbridge.errors import SetupError
from tests import postgres
from tests.flows.billed_month import BilledMonth
from tests.flows.test_commands import told

pytestmark = pytest.mark.postgres


@pytest.fixture
def database():
    if postgres.binaries() is None:
        pytest.fail(postgres.MISSING)
    with postgres.running() as server, server.database() as url:
        yield url


def put_back(url, dump):
    """As people do: everything is dropped and made anew, in the same database."""
    name = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run(["pg_restore", "--clean", "--if-exists", f"--dbname={name}", str(dump)], check=True)


def test_a_dump_put_back_is_told_and_rebuilt_and_another_host_looks_first(
    open_sandbox, database, tmp_path, monkeypatch
):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_LEDGER_URL=database)
    month.recalculate("50", "7")
    month.charge()
    monkeypatch.setenv("METERBRIDGE_HOME", str(tmp_path / "idle"))
    month.charge()
    dump = tmp_path / "ledger.dump"
    assert told("ledger", "backup", str(dump))["bytes"] > 0
    monkeypatch.setenv("METERBRIDGE_HOME", str(tmp_path))
    month.close()
    month.pass_days(25)
    month.recalculate("58.5", "7")
    month.charge()
    assert sum(month.ours()) == 6550
    month.close()
    month.pass_days(31)
    put_back(database, dump)
    with pytest.raises(SetupError, match="MB-LEDGER-BEHIND"):
        month.charge()
    monkeypatch.setenv("METERBRIDGE_HOME", str(tmp_path / "idle"))
    month.charge()
    assert sum(month.ours()) == 6550
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from money_runs").fetchone() is not None
    put_back(database, dump)
    monkeypatch.setenv("METERBRIDGE_HOME", str(tmp_path))
    assert len(rebuild_ledger.fn().charges) == 1  # the correction; what had stood before is known
    month.charge()
    assert (sum(month.ours()), month.charge().intended) == (6550, {})
