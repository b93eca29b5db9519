"""The two syncs under a real Prefect server with a process worker, and by the command line without any server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from meterbridge.settings import stripped_environment

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def background(command: list[str], log: Path, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(answers: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(answers, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"{answers} did not answer within {seconds} s")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for a sandbox in a process of its own; PREFECT_HOME is new, no server is named."""
    port = free_port()
    base = stripped_environment(os.environ)
    command = [sys.executable, "-m", "meterbridge.sandbox", "--port", str(port), "--scenario", "demo"]
    with background(command, tmp_path / "sandbox.log", base, ROOT):
        until(f"http://127.0.0.1:{port}/_sandbox/clock", 30)
        said = json.loads((tmp_path / "sandbox.log").read_text().splitlines()[0])
        yield base | {
            **{name: value for name, value in said.items() if name.isupper()},
            "SANDBOX": said["url"],
            "METERBRIDGE_HOME": str(tmp_path / "home"),
            "METERBRIDGE_BILLS_SINCE": "2026-01-01",
            "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": "3500",
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }


def run(command: list[str], env: dict[str, str], cwd: Path, *, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode in codes, f"{command} → {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def on_terminal(command: list[str], env: dict[str, str], cwd: Path, piped: bytes) -> tuple[str, str]:
    """stdout, and what a terminal at stderr showed, of a command that is fed through a pipe and ends with 0."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def look() -> None:
        with suppress(OSError):  # the terminal's end, on Linux
            while part := os.read(ours, 4096):
                shown.append(part)

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, env=env | {"TERM": "xterm"}, cwd=cwd, stderr=theirs, **pipes)  # type: ignore[call-overload]
    os.close(theirs)
    looking = threading.Thread(target=look)
    looking.start()
    out, _ = process.communicate(piped, timeout=300)
    looking.join()
    os.close(ours)
    terminal = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(shown).decode())
    assert process.returncode == 0, terminal
    return out.decode(), terminal


def test_deployments_run_on_a_server_with_a_process_worker(world: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    server = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with background(server, tmp_path / "server.log", world, tmp_path):
        until(f"{api}/health", 90)
        env = world | {"PREFECT_API_URL": api}
        run([str(BIN / "prefect"), "work-pool", "create", "meterbridge", "--type", "process"], env, tmp_path)
        run([str(BIN / "prefect"), "--no-prompt", "deploy", "--all"], env, ROOT)
        for one in httpx.post(f"{api}/deployments/filter", json={}).raise_for_status().json():
            # A quarter of an hour may strike meanwhile: the scheduled run would turn ours away.
            httpx.post(f"{api}/deployments/{one['id']}/pause_deployment").raise_for_status()
        worker = [str(BIN / "prefect"), "worker", "start", "--pool", "meterbridge"]
        with background(worker, tmp_path / "worker.log", env | {"METERBRIDGE_ROOT": str(ROOT)}, tmp_path):
            deployment = [str(BIN / "prefect"), "deployment", "run", "--watch"]
            run([*deployment, "sync_subscriptions/sync_subscriptions"], env, tmp_path)
            httpx.post(f"{world['SANDBOX']}/_sandbox/month", json={}, timeout=60).raise_for_status()
            run([*deployment, "sync_bills/sync_bills_ad_hoc", "--param", "dry_run=true"], env, tmp_path)
            run([*deployment, "sync_bills/sync_bills"], env, tmp_path)
            # By the command line against the same server: nothing is left to do.
            again = run([str(BIN / "meterbridge"), "sync", "bills", "--json"], env, tmp_path, codes=(0, 3))
            assert json.loads(again)["applied"] == {}
        rows = httpx.post(f"{api}/flow_runs/filter", json={}).raise_for_status().json()
        ended = {(row["name"], row["state"]["name"], row["state"]["type"]): row["state"]["message"] for row in rows}
        assert {"sync_subscriptions", "sync_bills", "sync_bills dry run"} <= {row["name"] for row in rows}
        aside = "1 record, 57.32 USD: there is no pending invoice to charge and none is to be expected"
        charged = "60 charges, 13,136.64 EUR; 603 JPY; 3,281.43 USD; 85 mappings created"
        assert ended["sync_bills dry run", "Set aside", "COMPLETED"] == f"{aside} · would write: {charged}"
        # The scheduled run charged, the command by hand after it had nothing left to do.
        words = {row["state"]["message"] for row in rows if row["name"] == "sync_bills"}
        assert words == {f"{aside} · done: {charged}", aside}
        tasks = httpx.post(f"{api}/task_runs/filter", json={}).raise_for_status().json()
        # A tagged task run would ask the server for a slot per tag: a third of a second and more each.
        assert len(tasks) > 20
        assert not [task["name"] for task in tasks if task["tags"]]
        artifacts = httpx.post(f"{api}/artifacts/latest/filter", json={}).raise_for_status().json()
        by_key = {row["key"]: row for row in artifacts}
        report = by_key["sync-bills-default-report"]
        assert report["data"].startswith(f"# Set aside\n\n{aside}\n")
        assert report["description"] == f"Set aside: {aside}"
        assert "| set aside | 57.32 |" in report["data"]
        assert "no pending invoice for 57.32 USD: subscription cust-yearly-sub bills next on" in report["data"]
        assert "Charge it by hand and dismiss" in report["data"]
        assert by_key["sync-bills-default-change-set"]["data"].startswith("# What was decided")
        told = httpx.post(f"{api}/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).raise_for_status().json()
        assert any(line["message"].startswith("landed: resource ") for line in told)
        written = httpx.get(f"{world['SANDBOX']}/_sandbox/requests").json()
        posts = [r for r in written if r["method"] == "POST" and r["vendor"] == "chargebee"]
        assert len(posts) == 60


def usage_from_a_pipe(world: dict[str, str], folder: Path) -> None:
    """Every row arrives; the terminal has rows, rate and time left, Prefect's database an artifact of the progress."""
    mapping = "{name: piped, account: customer, ts: at, key: [id], meters: [{meter: api_calls, measure: {calls: n}}]}"
    (folder / "usage.yaml").write_text(mapping, encoding="utf-8")
    rows = "customer,at,id,n\n" + "".join(f"cust-fractions,2026-03-16T10:00:00Z,p{n},{n}\n" for n in range(1_500))
    command = [str(BIN / "meterbridge"), "sync", "usage", "-", "--mapping", "usage.yaml", "--json"]
    out, terminal = on_terminal(command, world | {"METERBRIDGE_LOG_LEVEL": "ERROR"}, folder, rows.encode())
    assert json.loads(out)["applied"] == {"measurement": 1_500}
    assert re.search(r"usage to m3ter \S+ 1500/1500 [0-9,]+ rows/s 0:00:0\d", terminal), terminal
    with closing(sqlite3.connect(folder / "prefect" / "prefect.db")) as database:
        found = database.execute("select data from artifact where key = 'sync-usage-progress' and type = 'progress'")
        assert [float(data) for (data,) in found] == [100.0]


def test_commands_run_without_any_server(world: dict[str, str], tmp_path: Path) -> None:
    first = run([str(BIN / "meterbridge"), "sync", "subscriptions", "--json"], world, tmp_path, codes=(3,))
    report = json.loads(first)
    assert report["applied"]["account_plan.create"] == 39
    dry = run([str(BIN / "meterbridge"), "sync", "subscriptions", "--dry-run"], world, tmp_path, codes=(0, 3))
    assert "Dry run of sync_subscriptions" in dry
    usage_from_a_pipe(world, tmp_path)
    for words, more, code, said in (
        (["bills"], {"CHARGEBEE_API_KEY": "test_wrong"}, 2, "MB-CREDENTIALS: "),
        (["subscriptions", "--id", "no-such"], {}, 2, "MB-COMMAND: no subscription or customer 'no-such'"),
    ):
        command = [str(BIN / "meterbridge"), "sync", *words]
        quiet = world | {"METERBRIDGE_LOG_LEVEL": "ERROR"} | more
        done = subprocess.run(command, env=quiet, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        lines = done.stderr.splitlines()
        assert (done.returncode, len(lines)) == (code, 3), done.stderr
        assert lines[0].startswith("No PREFECT_API_URL")
        assert lines[1].startswith(said)
        assert lines[2].startswith("  → ")
