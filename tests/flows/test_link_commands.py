"""``meterbridge link`` on the command line: what it writes, tells and refuses, before any Prefect starts."""

import csv
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.sandbox import Sandbox
from tests.flows.test_commands import call


@pytest.fixture(scope="module")
def living(open_shared_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """A pair that was there before the bridge; suggestions leave it as it is."""
    return open_shared_sandbox("living")


def test_suggestions_go_into_a_file_for_its_owner_and_counts_to_stdout(living: Sandbox, tmp_path: Path) -> None:
    out = tmp_path / "links.csv"
    result = call("link", "suggest", "--out", str(out), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert told == {
        "file": str(out),
        "pairs": 7,
        "customers": 8,
        "accounts": 9,
        "certain": 3,
        "doubtful": 3,
        "without": 2,
    }
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with out.open(encoding="utf-8", newline="") as file:
        rows = {(row["customer_id"], row["account_code"]): row for row in csv.DictReader(file)}
    assert rows["hooli", "G-500"]["evidence"] == "same e-mail; same name"
    assert rows["staedte", "G-200"] | {"link": "yes", "score": "70"} == rows["staedte", "G-200"]
    assert rows["initech-north", "G-300"]["link"] == ""
    assert rows["initech-north", "G-300"]["customers_alike"] == "2"
    assert "Ünïcode" in rows["staedte", "G-200"]["customer_name"]


def test_people_are_told_what_to_do_next_and_no_name(living: Sandbox, tmp_path: Path) -> None:
    result = call("link", "suggest", "--by", "cf_m3ter_account", "--out", str(tmp_path / "by.csv"))
    assert "link apply" in result.stdout
    assert "Wayne" not in result.output
    assert "@" not in result.output


def test_an_existing_file_and_an_unknown_field_are_refused(living: Sandbox, tmp_path: Path) -> None:
    out = tmp_path / "links.csv"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(SetupError, match="there already"):
        call("link", "suggest", "--out", str(out))
    assert out.read_text(encoding="utf-8") == "mine"
    with pytest.raises(SetupError, match="cf_nothing"):
        call("link", "suggest", "--by", "cf_nothing", "--out", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("command", ["apply", "remove"])
def test_a_file_that_cannot_be_meant_is_refused_at_once(living: Sandbox, tmp_path: Path, command: str) -> None:
    path = tmp_path / "links.csv"
    path.write_text("customer,account\na,b\n", encoding="utf-8")
    with pytest.raises(SetupError, match="needs the columns"):
        call("link", command, str(path))
