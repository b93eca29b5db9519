"""A local imitation of Chargebee and m3ter: one process, loopback, no credentials, a clock that can be moved.

It imports nothing of the bridge: what the bridge does is judged by it.
"""

from __future__ import annotations

from meterbridge.sandbox.credentials import (
    CHARGEBEE_API_KEY,
    CHARGEBEE_READONLY_KEY,
    CHARGEBEE_SITE,
    M3TER_API_KEY,
    M3TER_API_SECRET,
    M3TER_ORGANIZATION_ID,
)
from meterbridge.sandbox.server import Sandbox, run
from meterbridge.sandbox.world import World

__all__ = [
    "CHARGEBEE_API_KEY",
    "CHARGEBEE_READONLY_KEY",
    "CHARGEBEE_SITE",
    "M3TER_API_KEY",
    "M3TER_API_SECRET",
    "M3TER_ORGANIZATION_ID",
    "Sandbox",
    "World",
    "run",
]
