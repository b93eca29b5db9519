"""The fixed credentials of the imitated vendors. They open nothing but a sandbox on loopback."""

from __future__ import annotations

CHARGEBEE_SITE = "acme-test"
CHARGEBEE_API_KEY = "test_sandbox_key"
CHARGEBEE_READONLY_KEY = "test_sandbox_readonly"

M3TER_ORGANIZATION_ID = "0f0e8a1c-5d2b-4c7e-9a36-2b1f6d9c4e70"
M3TER_API_KEY = "sandbox-access-key"
M3TER_API_SECRET = "sandbox-secret"  # noqa: S105 - a public constant of a local imitation
