"""The sandbox as a command: switches and faults from the beginning, and what is none of either is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from meterbridge.cli.main import run

SANDBOX = [sys.executable, "-c", "from meterbridge.cli.main import main; main()", "sandbox", "--scenario", "single"]


def test_switches_and_faults_hold_from_the_first_request_on() -> None:
    given = [
        "--switch",
        "card_declined=true",
        "--switch",
        "draft_line_ids_on_close=renew",
        "--switch",
        "auto_close_seconds=60",
    ]
    given += ["--fault", '{"harm": "status_400", "match": {"path": "/customers"}}', "--fault", '{"harm": "status_503"}']
    with subprocess.Popen([*SANDBOX, *given], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            switches = httpx.get(told["url"] + "/_sandbox/switches").json()
            auth = (told["CHARGEBEE_API_KEY"], "")
            customers = told["CHARGEBEE_BASE_URL"] + "/customers"
            answers = [httpx.get(customers, auth=auth).status_code for _ in range(3)]
        finally:
            process.terminate()
    assert [switches[name] for name in ("card_declined", "draft_line_ids_on_close", "auto_close_seconds")] == [
        True,
        "renew",
        60,
    ]
    assert answers == [400, 503, 200]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--switch", "card_declinde=true"], ["--switch", "card_declined=yes"], ["--switch", "card_declined"],
        ["--fault", "status_503"], ["--fault", '{"harm": "storm"}'], ["--fault", "[1]"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_switch_or_fault_is_told_before_anything_is_served(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    mask = os.umask(0)
    try:
        code = run(["sandbox", "--scenario", "single", *wrong])
    finally:
        os.umask(mask)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("MB-COMMAND: no switch or fault: ")
    assert "docs/reference/sandbox.md" in err
