"""Whom `make` tells what when the Python at hand cannot do it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "dirname", "cut", "cat", "basename", "cksum", "grep", "mkdir")


def stand_in(directory: Path, name: str, version: str, *, fits: bool, venv: bool) -> Path:
    """A program that answers the questions the script asks of a Python."""
    file = directory / name
    file.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        f"  *'import venv'*) exit {0 if venv else 1};;\n"
        f"  *sys.exit*) exit {0 if fits else 1};;\n"
        f"  *print*) echo {version};;\n"
        "esac\n"
    )
    file.chmod(0o755)
    return file


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with the shell's tools and no Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in TOOLS:
        (directory / tool).symlink_to(shutil.which(tool) or tool)
    return directory


def told(programs: Path, tmp_path: Path, **environment: str) -> str:
    """What the script says when it refuses."""
    outcome = subprocess.run(
        [ROOT / ".ci" / "environment", "requirements.lock", tmp_path / "venv"],
        env={"PATH": os.fspath(programs), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2
    assert not (tmp_path / "venv").exists()
    return outcome.stderr


def test_no_python_at_all_is_said_with_the_versions_that_fit(programs: Path, tmp_path: Path) -> None:
    assert "Python 3.11, 3.12, 3.13 or 3.14 is needed and was not found." in told(programs, tmp_path)


def test_an_older_python_is_named_with_its_version(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "python3", "3.10.4", fits=False, venv=True)
    assert "python3 is 3.10.4." in told(programs, tmp_path)


def test_a_python_that_was_asked_for_and_does_not_run_is_named(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "python3", "3.12.1", fits=True, venv=True)
    assert "PYTHON=/no/such/python does not run." in told(programs, tmp_path, PYTHON="/no/such/python")


def test_a_python_without_venv_is_told_with_the_package_that_brings_it(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "python3", "3.12.1", fits=True, venv=False)
    assert "apt-get install python3.12-venv" in told(programs, tmp_path)
