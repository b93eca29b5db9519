"""The demo as a new user runs it, in a hostile environment: it must not leave this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.settings import Settings, load_settings, refuse_all_but_loopback, stripped_environment, use_environment

HOSTILE = {
    "CHARGEBEE_SITE": "real-company",
    "CHARGEBEE_API_KEY": "live_key_of_a_real_company",
    "CHARGEBEE_BASE_URL": "https://real-company.invalid/api/v2",
    "M3TER_ORG_ID": "11111111-1111-1111-1111-111111111111",
    "M3TER_API_KEY": "real",
    "M3TER_API_SECRET": "real-secret",
    "M3TER_BASE_URL": "https://m3ter.invalid",
    "METERBRIDGE_LEDGER_URL": "postgresql://somebody:password@ledger.invalid/ledger",
    "METERBRIDGE_CONNECTION": "production",
    "METERBRIDGE_HOME": "/nonexistent/home",
    "PREFECT_API_URL": "http://prefect.invalid:4200/api",
    "PREFECT_API_KEY": "pnu_real",
    "PREFECT_PROFILE": "production",
}


@pytest.mark.prefect
def test_the_demo_ends_well_and_touches_nothing_but_loopback_whatever_is_set(tmp_path: Path) -> None:
    somewhere = tmp_path / "a project of theirs"
    somewhere.mkdir()
    (somewhere / ".env").write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()))
    (somewhere / "meterbridge.toml").write_text('chargebee_site = "real-company"\nconnection = "production"\n')
    (somewhere / "prefect.toml").write_text('[api]\nurl = "http://prefect.invalid:4200/api"\n')
    command = [str(Path(sys.executable).parent / "meterbridge"), "demo", "--folder", str(tmp_path / "demo")]
    env = stripped_environment(os.environ) | HOSTILE
    done = subprocess.run(command, env=env, cwd=somewhere, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Written when everything ran a second time: 0" in done.stdout
    assert "Differences found by reconcile: 0" in done.stdout
    everything = done.stdout + done.stderr
    assert not any(value in everything for value in HOSTILE.values() if len(value) > 10)
    assert (tmp_path / "demo" / "ledger.sqlite3").exists()
    assert list((tmp_path / "demo" / "default" / "staging" / "sync_bills").glob("*.duckdb"))


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.chargebee.com/api/v2",
        "http://127.0.0.1.example.com/api/v2",
        "http://10.0.0.7/api/v2",
        "http://[::2]/api/v2",
        "http://user@example.com:80/api/v2",
        "http://localhost.example/api/v2",
    ],
)
def test_anything_but_loopback_is_refused(url: str) -> None:
    local = {"m3ter_base_url": "http://127.0.0.1:1", "m3ter_ingest_url": "http://127.0.0.1:1"}
    settings = load_settings({"chargebee_base_url": url, **local})
    with pytest.raises(SetupError) as caught:
        refuse_all_but_loopback(settings)
    assert caught.value.code == "MB-LOOPBACK"


def test_loopback_is_accepted() -> None:
    urls = dict.fromkeys(("m3ter_base_url", "m3ter_ingest_url"), "http://127.0.0.1:8080")
    urls["chargebee_base_url"] = "http://127.0.0.1:8080/api/v2"
    refuse_all_but_loopback(load_settings(urls))


def test_the_environment_is_replaced_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    try:
        os.environ.update(HOSTILE)
        use_environment({"CHARGEBEE_SITE": "sandbox"})
        settings: Settings = load_settings()
        assert settings.chargebee_site == "sandbox"
        assert settings.secrets() == []
        assert not any(name in os.environ for name in HOSTILE if name != "CHARGEBEE_SITE")
    finally:
        os.environ.clear()
        os.environ.update(before)
