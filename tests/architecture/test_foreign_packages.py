"""What really happens when a foreign ``tasks`` lies earlier on the path: a process of its own finds out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def verified(first: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Verify the origin in a new process that looks into ``first`` before our checkout."""
    return subprocess.run(
        [sys.executable, "-c", "import meterbridge.origin as origin; origin.verify(); print('ours')"],
        env={"PYTHONPATH": f"{first}:{ROOT}"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["tasks/__init__.py", "connectors/__init__.py", "flows.py"])
def test_a_foreign_package_or_module_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    outcome = verified(tmp_path, tmp_path)
    assert outcome.returncode == 1
    assert "MB-ORIGIN" in outcome.stderr
    assert str(tmp_path) in outcome.stderr


def test_a_directory_without_an_init_file_does_not_win_over_ours(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    assert verified(tmp_path, tmp_path).stdout == "ours\n"
