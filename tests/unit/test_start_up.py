"""A command that looks at the ledger alone starts without the libraries that runs need."""

import subprocess
import sys

import pytest

HEAVY = ("duckdb", "pandas", "prefect")


@pytest.mark.parametrize("command", ["status", "trace", "quarantine", "hold"])
def test_a_command_that_asks_the_ledger_alone_imports_no_engine(command: str) -> None:
    script = (
        "import sys; from meterbridge.cli import main; "
        f"main.commands(({command!r},)); print([one for one in {HEAVY} if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
