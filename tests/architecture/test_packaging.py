"""What a wheel holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_wheel_holds_the_four_packages_every_query_and_the_license(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("meterbridge-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [
        path.relative_to(ROOT).as_posix()
        for package in ("flows", "tasks", "connectors", "meterbridge")
        for pattern in ("*.py", "*.sql")
        for path in (ROOT / package).rglob(pattern)
    ]
    assert set(sources) <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "flows",
        "tasks",
        "connectors",
        "meterbridge",
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
