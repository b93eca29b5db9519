"""m3ter's writes as requests, built and not sent: the ledger stores them first.

Bodies are compact JSON with sorted keys, so the same intent gives the same bytes. PUT
replaces: pass the whole object that was read (as read, not with decimals as text), overlaid,
with its ``version``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors.transport import Request, path
from meterbridge.errors import BrokenInvariant

JSON = "application/json"


def create_account(org: str, body: Mapping[str, Any]) -> Request:
    """A new account."""
    return _write("POST", _at(org, "accounts"), body)


def update_account(org: str, account_id: str, body: Mapping[str, Any]) -> Request:
    """The account as it should be from now on."""
    return _write("PUT", _at(org, "accounts", account_id), _versioned(body))


def create_account_plan(org: str, body: Mapping[str, Any]) -> Request:
    """Attach a plan to an account."""
    return _write("POST", _at(org, "accountplans"), body)


def update_account_plan(org: str, account_plan_id: str, body: Mapping[str, Any]) -> Request:
    """The account plan as it should be; without ``endDate`` it is open again."""
    return _write("PUT", _at(org, "accountplans", account_plan_id), _versioned(body))


def replace_account_plan(org: str, account_plan_id: str, body: Mapping[str, Any]) -> Request:
    """End an account plan at the new one's ``startDate``, in one call; ``body`` is the new one."""
    return _write("POST", _at(org, "accountplans", account_plan_id, "replace"), body)


def delete_account_plan(org: str, account_plan_id: str) -> Request:
    """Take an account plan away, as if it had never been."""
    return Request("DELETE", _at(org, "accountplans", account_plan_id))


def create_mapping(org: str, body: Mapping[str, Any]) -> Request:
    """An external mapping: m3terEntity, m3terId, externalSystem, externalTable, externalId."""
    return _write("POST", _at(org, "externalmappings"), body)


def update_mapping(org: str, mapping_id: str, body: Mapping[str, Any]) -> Request:
    """Point an external mapping elsewhere."""
    return _write("PUT", _at(org, "externalmappings", mapping_id), _versioned(body))


def delete_mapping(org: str, mapping_id: str) -> Request:
    """Take an external mapping away."""
    return Request("DELETE", _at(org, "externalmappings", mapping_id))


def _at(org: str, *segments: str) -> str:
    return path("organizations", org, *segments)


def _versioned(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(body.get("version"), int):
        raise BrokenInvariant("MB-INVARIANT", "an m3ter update needs the version that was read")
    return body


def _write(method: str, address: str, body: Mapping[str, Any]) -> Request:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Request(method, address, text, JSON)
