"""Every command against every misfortune: two lines, what happened and what to do, an exit code, and no traceback.

In this process, through the same door as the console script; a few in processes of their own, because there the
exit itself is part of what a person sees.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest

from meterbridge.cli import main
from meterbridge.errors import CODES
from meterbridge.sandbox import Sandbox
from meterbridge.settings import load_settings
from meterbridge.staging.database import Staging
from tasks.services import open_ledger

HASH = "0123456789abcdef"
ON_PREFECT = {
    "sync subscriptions": ["sync", "subscriptions"],
    "sync bills": ["sync", "bills"],
    "sync bills --shadow": ["sync", "bills", "--shadow"],
    "sync usage": ["sync", "usage", "rows.csv"],
    "reconcile": ["reconcile"],
    "approve": ["approve", HASH, "--by", "Ann"],
    "undo": ["undo", "no-such-run", "--by", "Ann"],
}
ON_LEDGER = {
    "status": ["status"],
    "trace": ["trace", "x"],
    "quarantine list": ["quarantine", "list"],
    "quarantine show": ["quarantine", "show", "1"],
    "quarantine retry": ["quarantine", "retry", "1"],
    "quarantine dismiss": ["quarantine", "dismiss", "1", "--by", "Ann", "--note", "done"],
    "bills mark-invoiced": ["bills", "mark-invoiced", "b", "--note", "done"],
}
AT_VENDORS = {
    "webhooks install": ["webhooks", "install"],
    "webhooks list": ["webhooks", "list"],
    "webhooks remove": ["webhooks", "remove"],
}
COMMANDS = {**ON_PREFECT, **ON_LEDGER, **AT_VENDORS, "doctor": ["doctor"], "serve": ["serve", "--port", "0"]}

Told = tuple[int, str, str]
Environment = Callable[..., None]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run a command through the console script's door: its exit code, stdout and stderr."""

    def call(*words: str) -> Told:
        capfd.readouterr()
        code = main.run(words)
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def world(open_sandbox: Any, tmp_path: Path) -> Sandbox:
    """A small world, with webhooks to install, and no Prefect but the one that a test names."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    sandbox: Sandbox = open_sandbox(
        "single",
        METERBRIDGE_WEBHOOK_URL="https://bridge.example.com",
        METERBRIDGE_WEBHOOK_PASSWORD="hook-password",
        METERBRIDGE_WEBHOOK_M3TER_PATH="hidden-path",
    )
    return sandbox


def refused(told: Told, code: str, exit_code: int) -> None:
    """The command ended with this code, and stderr ends with two lines about it."""
    found, out, err = told
    lines = err.splitlines()
    assert found == exit_code, out + err
    assert lines[-2].startswith(f"{code}"), err
    assert lines[-1].startswith("  → "), err
    assert code in CODES
    for word in ("Traceback", "nanobind", 'File "'):
        assert word not in out + err


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that answers everything with the status."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- whatever the command ---------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_home_that_cannot_be_written(world, run, monkeypatch, name):
    monkeypatch.setenv("METERBRIDGE_HOME", "/proc/meterbridge")
    if name in ON_PREFECT:  # judged before a server is asked: none is started here
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    told = run(*COMMANDS[name])
    if name == "doctor":
        assert told[0] == 2
        assert "MB-SETTING" in told[1]
    elif name in ("webhooks install", "webhooks remove"):  # neither needs the ledger
        assert told[0] == 0
    else:
        refused(told, "MB-PREFECT" if name in ON_PREFECT else "MB-SETTING", 1 if name in ON_PREFECT else 2)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_setting_with_a_wrong_value(world, run, monkeypatch, name):
    monkeypatch.setenv("METERBRIDGE_BILLS_SINCE", "01/02/2026")
    told = run(*COMMANDS[name])
    if name == "doctor":
        assert (told[0], "YYYY-MM-DD" in told[1].replace("\n", "")) == (2, True)
    else:
        refused(told, "MB-SETTING", 2)
        assert "YYYY-MM-DD" in told[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_argument_that_is_no_text(world, run, name):
    refused(run(*COMMANDS[name], "\udcff"), "MB-COMMAND", 2)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sync usage"])
def test_no_vendor_is_known(world, run, monkeypatch, name):
    for variable in ("CHARGEBEE_SITE", "CHARGEBEE_API_KEY", "M3TER_ORG_ID", "M3TER_API_KEY", "M3TER_API_SECRET"):
        monkeypatch.delenv(variable)
    told = run(*COMMANDS[name])
    if name == "doctor":
        assert told[0] == 2
    elif name in ON_LEDGER:
        assert told[0] in (0, 2)
        assert "Traceback" not in told[2]
    else:
        refused(told, "MB-SETTING", 2)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", [*ON_LEDGER, "webhooks list"])
def test_a_command_that_is_interrupted_or_has_no_memory(world, run, monkeypatch, name, stop):
    def fail(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr("meterbridge.ledger.ledger.migrate", fail)
    refused(run(*COMMANDS[name]), "MB-INTERRUPTED" if stop is KeyboardInterrupt else "MB-MEMORY", 1)


# --- commands that run a flow -----------------------------------------------------------------


@pytest.mark.parametrize("name", ON_PREFECT)
def test_a_prefect_that_is_not_there(world, run, monkeypatch, name):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    refused(run(*ON_PREFECT[name]), "MB-PREFECT", 1)


@pytest.mark.parametrize("name", ["sync subscriptions", "approve"])
def test_a_prefect_that_is_out_of_order(world, run, monkeypatch, name):
    with answering(503) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        told = run(*ON_PREFECT[name])
    refused(told, "MB-PREFECT", 1)
    assert "503" in told[2]


@pytest.mark.parametrize(
    "text",
    ["deadbeef", "", " ", "0123456789ABCDEF", f"{HASH}0", "x' or 1=1 --", "{by}", "日本", "../../etc", "a" * 5_000],
)
def test_approve_takes_any_text(world, run, text):
    told = run("approve", text, "--by", "Ann")
    refused(told, "MB-APPROVAL", 2)
    assert len(told[2]) < 400


# --- a run, whatever meets it -----------------------------------------------------------------


BARE = {
    "sync subscriptions": lambda: __import__("flows.sync_subscriptions", fromlist=["f"]).sync_subscriptions.fn(),
    "sync bills": lambda: __import__("flows.sync_bills", fromlist=["f"]).sync_bills.fn(),
    "reconcile": lambda: __import__("flows.reconcile", fromlist=["f"]).reconcile.fn(),
    "approve": lambda: __import__("flows.approve_bills", fromlist=["f"]).approve_bills.fn(HASH, "Ann"),
    "undo": lambda: __import__("flows.undo_run", fromlist=["f"]).undo_run.fn("no-such-run", "Ann"),
}
TROUBLES: dict[str, tuple[Exception, str]] = {
    "full disk": (OSError(28, "No space left on device"), "MB-DISK"),
    "full disk in DuckDB": (
        duckdb.IOException('IO Error: Could not write file "x.duckdb": No space left on device'),
        "MB-DISK",
    ),
    "quota": (OSError(122, "Disk quota exceeded"), "MB-DISK"),
    "memory": (MemoryError(), "MB-MEMORY"),
    "DuckDB's limit": (duckdb.OutOfMemoryException("failed to pin block of size 256.0 KiB"), "MB-MEMORY"),
    "read-only": (OSError(30, "Read-only file system", "/srv/x.duckdb"), "MB-SETTING"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", BARE)
def test_a_run_tells_it_by_its_code_wherever_it_meets_it(world, run, monkeypatch, name, trouble):
    failure, code = TROUBLES[trouble]

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(Staging, "ensure_tables", fail)
    monkeypatch.setattr(main, "commands", lambda _: lambda *_, **__: BARE[name]())
    refused(run(name), code, 2 if code == "MB-SETTING" else 1)

    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        from meterbridge.ledger import runs

        (noted,) = runs.recent(rx)
    ledger.close()
    assert noted.state == "failed"
    assert noted.counts is not None
    assert noted.counts["message"].startswith(code)


def test_what_nobody_expected_names_the_kind_and_the_place_and_no_foreign_words(world, run, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("hook-password of ann@acme.example")

    monkeypatch.setattr(main, "commands", lambda _: fail)
    told = run("status")
    refused(told, "MB-INVARIANT", 1)
    assert "ZeroDivisionError" in told[2]
    assert "acme.example" not in told[2]


# --- remedies fit what happened ---------------------------------------------------------------


def test_an_unknown_host_asks_whether_the_site_is_right(world, run, monkeypatch):
    monkeypatch.setenv("CHARGEBEE_BASE_URL", "https://no-such-site.invalid/api/v2")
    code, out, _ = run("doctor", "--json")
    assert code == 2
    assert "Is CHARGEBEE_SITE right" in out
    assert "no-such-site.invalid" in out


@pytest.mark.parametrize(
    "url", ["https://acme.chargebee.com", "https://acme.chargebee.com/", "https://acme.chargebee.com/api"]
)
def test_a_base_url_without_its_version_is_told(world, run, monkeypatch, url):
    monkeypatch.setenv("CHARGEBEE_BASE_URL", url)
    told = run("status")
    refused(told, "MB-SETTING", 2)
    assert "must end in /api/v2" in told[2]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("CHARGEBEE_APIKEY", "CHARGEBEE_API_KEY"), ("M3TER_ORGID", "M3TER_ORG_ID"), ("CHARGEBEE_SITES", "CHARGEBEE_SITE")],
)
def test_a_name_that_is_almost_one_of_ours_is_told(world, run, monkeypatch, tmp_path, wrong, right):
    monkeypatch.delenv(right)
    (tmp_path / ".env").write_text(f"{wrong}=x\n")
    told = run("status")
    refused(told, "MB-SETTING", 2)
    assert f"{wrong} is not a setting; did you mean {right}?" in told[2]


def test_names_of_other_programs_are_left_alone(world, run, monkeypatch):
    monkeypatch.setenv("CHARGEBEE_WEBHOOK_USERNAME_OF_THE_SHOP", "x")
    monkeypatch.setenv("CHARGEBEE_APIKEY", "x")  # ours is set: this one belongs to somebody else
    assert run("status")[0] == 0


def test_a_bill_that_nobody_knows_is_wrong_usage(world, run, monkeypatch):
    from flows.sync_bills import sync_bills

    monkeypatch.setattr(main, "commands", lambda _: lambda *_, **__: sync_bills.fn(ids=["TYPO"]))
    told = run("sync", "bills")
    refused(told, "MB-COMMAND", 2)
    assert "TYPO" in told[2]


@pytest.mark.parametrize("name", [".", "..", " "])
def test_an_id_of_which_no_address_can_be_made_is_wrong_usage(world, run, monkeypatch, name):
    from flows.sync_subscriptions import sync_subscriptions

    monkeypatch.setattr(main, "commands", lambda _: lambda *_, **__: sync_subscriptions.fn(ids=[name]))
    refused(run("sync", "subscriptions"), "MB-COMMAND", 2)


def test_a_port_in_use_is_wrong_usage(world, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = run("serve", "--no-drain", "--port", str(taken.getsockname()[1]))
    refused(told, "MB-COMMAND", 2)


@pytest.mark.parametrize(
    ("gone", "vendor"),
    [
        (("METERBRIDGE_WEBHOOK_M3TER_PATH", "M3TER_ORG_ID", "M3TER_API_KEY", "M3TER_API_SECRET"), "chargebee"),
        (("METERBRIDGE_WEBHOOK_PASSWORD", "CHARGEBEE_SITE", "CHARGEBEE_API_KEY"), "m3ter"),
    ],
)
def test_webhooks_are_installed_at_the_vendor_whose_secrets_are_there(world, run, monkeypatch, gone, vendor):
    for variable in gone:
        monkeypatch.delenv(variable)
    code, out, err = run("webhooks", "install", "--json")
    assert code == 0, err
    assert f'"{vendor}"' in out
    assert ("m3ter" if vendor == "chargebee" else "chargebee") not in out
    assert run("webhooks", "list")[0] == 0
    assert run("webhooks", "remove")[0] == 0


# --- in processes of their own ----------------------------------------------------------------


def process(*words: str, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from meterbridge.cli.main import main; main()", *words]
    return subprocess.Popen(
        command, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("words", "more", "code", "exit_code"),
    [
        (["approve", "deadbeef", "--by", "me"], {}, "MB-APPROVAL", 2),
        (["sync", "bills"], {"PREFECT_API_URL": "http://127.0.0.1:1/api"}, "MB-PREFECT", 1),
        (["status"], {"METERBRIDGE_HOME": "/proc/meterbridge"}, "MB-SETTING", 2),
    ],
    ids=["approve", "prefect", "home"],
)
def test_a_process_ends_as_its_command_does(world, words, more, code, exit_code):
    child = process(*words, **more)
    out, err = child.communicate(timeout=120)
    refused((child.returncode, out, err), code, exit_code)


@pytest.mark.prefect
def test_ctrl_c_in_a_run_is_two_lines_and_the_run_is_told_as_interrupted(world, run):
    world.world.faults.add([{"match": {"path": "/customers"}, "harm": "slow", "seconds": 60.0, "times": -1}])
    child = process("sync", "subscriptions")
    ledger = open_ledger(load_settings())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        from meterbridge.ledger import runs

        with ledger.read() as rx:
            if runs.recent(rx):
                break
        time.sleep(0.2)
    time.sleep(3)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    refused((child.returncode, out, err), "MB-INTERRUPTED", 1)
    with ledger.read() as rx:
        (noted,) = runs.recent(rx)
    ledger.close()
    assert noted.state == "failed"
    assert noted.counts is not None
    assert noted.counts["message"].startswith("MB-INTERRUPTED")
