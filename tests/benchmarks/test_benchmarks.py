"""Every benchmark runs to its end at a tiny size: figures mean nothing here, but a benchmark that broke is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meterbridge.settings import stripped_environment

ROOT = Path(__file__).parents[2]
TINY = {
    "bench_bills": ["--bills", "20", "--no-yardstick"],
    "bench_connectors": ["40"],
    "bench_ledger": ["200"],
    "bench_receiver": ["64"],
    "bench_sandbox": ["--subscriptions", "600", "--requests", "40"],
    "bench_staging": ["200"],
    "bench_usage": ["--rows", "2000"],
    "bench_webhook_latency": ["2", "0.1"],
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_benchmark_is_here() -> None:
    assert {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")} == set(TINY)


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_runs_to_its_end(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *TINY[name]],
        cwd=ROOT,
        env={**stripped_environment(os.environ), "METERBRIDGE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert done.stdout.strip()
