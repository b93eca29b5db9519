"""Prefect's server of one command: it comes up, it ends with the command however that ends, it gets no key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from meterbridge.cli.short_lived import ShortLivedServer
from meterbridge.errors import RetriableError
from meterbridge.settings import stripped_environment

ROOT = Path(__file__).parents[2]
PARENT = """
import time
from meterbridge.cli.short_lived import ShortLivedServer
server = ShortLivedServer()
server.wait()
print(server.url, flush=True)
time.sleep(600)
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=10).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))


@pytest.mark.prefect
def test_it_ends_when_its_command_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert httpx.get(f"{url}/health", timeout=10).json() is True
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 30
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not answers(url)


def test_one_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect").write_text("no folder")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////nonexistent/prefect.db")
    with pytest.raises(RetriableError, match="did not start") as caught:
        ShortLivedServer().wait()
    assert caught.value.code == "MB-UNAVAILABLE"
    assert "PREFECT_API_URL" in caught.value.remedy


def test_vendors_keys_are_not_given_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEBEE_API_KEY", "live_secret")
    monkeypatch.setenv("M3TER_API_SECRET", "secret")
    monkeypatch.setenv("METERBRIDGE_LEDGER_URL", "postgresql://bridge:word@db/ledger")
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE", "7")
    given = ShortLivedServer.environment()
    assert not [name for name in given if name.startswith(("CHARGEBEE_", "M3TER_", "METERBRIDGE_"))]
    assert given["PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE"] == "7"


def ended(tmp_path: Path, **more: str) -> tuple[int, str]:
    """Exit code and stderr of ``sync bills`` in an empty folder."""
    env = stripped_environment(os.environ) | {
        "CHARGEBEE_SITE": "acme-test", "CHARGEBEE_API_KEY": "k", "M3TER_ORG_ID": "o", "M3TER_API_KEY": "k",
        "M3TER_API_SECRET": "s", "PREFECT_HOME": str(tmp_path / "prefect"), **more,
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "meterbridge"), "sync", "bills"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_server_of_our_own_that_is_forbidden_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("plans: []\n", encoding="utf-8")
    code, said = ended(tmp_path, PREFECT_SERVER_EPHEMERAL_ENABLED="false")
    assert code == 2
    assert said.startswith("MB-SETTING: PREFECT_API_URL is not set")
    assert said.count("\n") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "catalog.yaml does not exist", id="missing"),
        pytest.param("plans: [\n  {item_price: a, plan b}", "expected ',' or ']'", id="no-yaml"),
        pytest.param(
            "plans:\n  - {item_price: a, plna: b}", "catalog.yaml:2: plans.0.plna: unknown key", id="misspelt"
        ),
    ],
)
def test_a_mistake_in_the_catalog_is_told_before_a_server_is_started(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "catalog.yaml").write_text(text, encoding="utf-8")
    code, said = ended(tmp_path)
    assert code == 2
    assert said.startswith("MB-CATALOG: ")
    assert words in said
    assert said.count("\n") == 2
