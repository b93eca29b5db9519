"""The variables that connect a bridge, of whichever version, to a sandbox."""

from __future__ import annotations

from pathlib import Path

from meterbridge.sandbox import Sandbox


def environment(sandbox: Sandbox, home: Path, **more: str) -> dict[str, str]:
    """All the variables that connect the bridge to a sandbox; ``more`` by full name."""
    return {
        **sandbox.description(),
        "METERBRIDGE_HOME": str(home),
        "METERBRIDGE_ROOT": str(home),
        "METERBRIDGE_BILLS_SINCE": "2026-01-01",
        "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": "60000",
        "METERBRIDGE_M3TER_REQUESTS_PER_SECOND": "1000",
        "METERBRIDGE_LOG_LEVEL": "ERROR",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        **more,
    }
