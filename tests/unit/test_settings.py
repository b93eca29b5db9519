"""Settings: which source wins, what is refused, what never shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.settings import load_settings, variable


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METERBRIDGE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_env_file_over_toml_over_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "meterbridge.toml").write_text("bill_settle_hours = 1\nmax_wait_days = 1\nlease_seconds = 11\n")
    (root / ".env").write_text("METERBRIDGE_BILL_SETTLE_HOURS=2\nMETERBRIDGE_MAX_WAIT_DAYS=2\n")
    monkeypatch.setenv("METERBRIDGE_BILL_SETTLE_HOURS", "3")
    settings = load_settings()
    found = (settings.bill_settle_hours, settings.max_wait_days, settings.lease_seconds, settings.overlap_seconds)
    assert found == (3, 2, 11, 300)


@pytest.mark.parametrize("value", ["2", "3"])
def test_a_choice_of_numbers_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("METERBRIDGE_THREE_DECIMAL_EXPONENT", value)
    assert load_settings().three_decimal_exponent == int(value)


def test_a_choice_of_numbers_is_no_other_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERBRIDGE_THREE_DECIMAL_EXPONENT", "4")
    with pytest.raises(SetupError, match="METERBRIDGE_THREE_DECIMAL_EXPONENT"):
        load_settings()


def test_home_and_root_of_the_shell_are_not_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    monkeypatch.setenv("TRIAL", "billed")
    monkeypatch.setenv("CONNECTION", "SSH-2.0")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    settings = load_settings()
    assert settings.trial == "free"
    assert settings.connection == "default"
    assert str(settings.home).endswith("meterbridge")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param("METERBRIDGE_BILS_SINCE", "2026-01-01", "did you mean METERBRIDGE_BILLS_SINCE", id="typo"),
        pytest.param("METERBRIDGE_BILLS_SINCE", "tomorrow", "METERBRIDGE_BILLS_SINCE", id="no-date"),
        pytest.param("METERBRIDGE_REQUEST_RESERVE", "1", "METERBRIDGE_REQUEST_RESERVE", id="no-budget-left"),
        pytest.param("METERBRIDGE_CONNECTION", "../up", "METERBRIDGE_CONNECTION", id="connection-is-a-path"),
        pytest.param("METERBRIDGE_MAIN_SUBSCRIPTION", "acme", "customer=subscription", id="no-pair"),
        pytest.param("METERBRIDGE_HIERARCHY", "parents", "'invoice_owner'", id="unknown-word"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as caught:
        load_settings()
    assert caught.value.code == "MB-SETTING"
    assert words in caught.value.message


def test_a_source_that_changes_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings() is load_settings()
    sites = []
    for text in ("CHARGEBEE_SITE=one\n", "CHARGEBEE_SITE=two\n"):
        (root / ".env").write_text(text)
        sites.append(load_settings().chargebee_site)
    (root / ".env").unlink()
    (root / "meterbridge.toml").write_text('chargebee_site = "three"\n')
    sites.append(load_settings().chargebee_site)
    monkeypatch.setenv("CHARGEBEE_SITE", "four")
    sites += [load_settings().chargebee_site, load_settings({"chargebee_site": "five"}).chargebee_site]
    assert [*sites, load_settings().chargebee_site] == ["one", "two", "three", "four", "five", "four"]


def test_an_unknown_toml_key_is_named(root: Path) -> None:
    (root / "meterbridge.toml").write_text("bill_setle_hours = 1\n")
    with pytest.raises(SetupError, match="did you mean bill_settle_hours"):
        load_settings()


def test_a_toml_file_that_cannot_be_read_is_said(root: Path) -> None:
    (root / "meterbridge.toml").write_text("bill_settle_hours = \n")
    with pytest.raises(SetupError, match=r"meterbridge\.toml or \.env cannot be read"):
        load_settings()


def test_other_programs_variables_in_the_env_file_are_left_alone(root: Path) -> None:
    (root / ".env").write_text("PREFECT_API_URL=http://x\nCHARGEBEE_SITE=acme\nOTHER=1\n")
    assert load_settings().chargebee_url == "https://acme.chargebee.com/api/v2"


def test_lists_and_pairs_are_split_and_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERBRIDGE_ACCOUNTS_ONLY", " Ünïcode 7 ,b,, ")
    monkeypatch.setenv("METERBRIDGE_MAIN_SUBSCRIPTION", "acme=sub=1, b = s2")
    settings = load_settings()
    assert settings.accounts_only == {"Ünïcode 7", "b"}
    assert settings.main_subscription == {"acme": "sub=1", "b": "s2"}


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEBEE_API_KEY", "live_abc")
    monkeypatch.setenv("METERBRIDGE_LEDGER_URL", "postgresql://me:pass@host/db")
    settings = load_settings()
    assert "live_abc" not in repr(settings) + settings.model_dump_json()
    assert "pass@" not in repr(settings) + settings.model_dump_json()
    assert sorted(settings.secrets()) == ["live_abc", "postgresql://me:pass@host/db"]


def test_missing_vendor_settings_are_all_named_at_once() -> None:
    with pytest.raises(SetupError) as caught:
        load_settings({"chargebee_site": "acme"}).require_vendors()
    assert caught.value.message == "CHARGEBEE_API_KEY, M3TER_ORG_ID, M3TER_API_KEY, M3TER_API_SECRET not set"


def test_a_variable_is_the_upper_case_name_with_its_prefix() -> None:
    assert variable("bill_settle_hours") == "METERBRIDGE_BILL_SETTLE_HOURS"
    assert variable("m3ter_org_id") == "M3TER_ORG_ID"
    assert "METERBRIDGE_ROOT" in os.environ
