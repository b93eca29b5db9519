"""In the pipeline nothing is skipped: a suite that left something out must not be green."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SUITE = """
import os, pytest

def test_skipped():
    pytest.skip("no server here")

@pytest.mark.xfail(strict=True)
def test_known_to_fail():
    assert False

def test_variables_of_the_caller_are_gone():
    assert "CHARGEBEE_API_KEY" not in os.environ
"""


@pytest.mark.parametrize(("no_skip", "summary"), [("1", "1 failed, 1 passed, 1 xfailed"), ("", "1 passed, 1 skipped")])
def test_a_skipped_test_fails_when_nothing_may_be_skipped(tmp_path: Path, no_skip: str, summary: str) -> None:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_suite.py").write_text(SUITE)
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        env={"METERBRIDGE_TEST_NO_SKIP": no_skip, "CHARGEBEE_API_KEY": "live_key", "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert summary in outcome.stdout
    assert ("no server here" in outcome.stdout) == (no_skip == "1")
