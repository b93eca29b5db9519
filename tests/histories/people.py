"""People and other systems at the two vendors: they use the sandbox's own API, as the vendors' consoles would."""

from __future__ import annotations

from typing import Any

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.credentials import (
    CHARGEBEE_API_KEY,
    M3TER_API_KEY,
    M3TER_API_SECRET,
    M3TER_ORGANIZATION_ID,
)

BY_HAND = "typed in by a person"
"""Begins the description of each line that a person adds: so the books can tell it from ours."""


class People:
    """Each call returns the vendor's answer, or None where the vendor refuses it: then nothing happened."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.world = sandbox.world
        self._client = httpx.Client(base_url=sandbox.url, trust_env=False, timeout=30)
        self._token = ""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def chargebee(self, path: str, **form: Any) -> dict[str, Any] | None:
        """POST ``/api/v2/<path>``; a name's double underscore opens a bracket: ``subscription_items__quantity__0``."""
        names = {name: _bracketed(name) for name in form}
        sent = {
            names[name]: str(value).lower() if isinstance(value, bool) else str(value) for name, value in form.items()
        }
        return self._answer(self._client.post(f"/api/v2/{path}", data=sent, auth=(CHARGEBEE_API_KEY, "")))

    def m3ter(self, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        """Any call below ``/organizations/<id>/``."""
        if not self._token:
            granted = self._client.post(
                "/oauth/token", json={"grant_type": "client_credentials"}, auth=(M3TER_API_KEY, M3TER_API_SECRET)
            )
            self._token = granted.json()["access_token"]
        url = f"/organizations/{M3TER_ORGANIZATION_ID}/{path}"
        answer = self._client.request(method, url, json=body, headers={"Authorization": f"Bearer {self._token}"})
        if answer.status_code in (401, 403) and self._token:
            self._token = ""
            return self.m3ter(method, path, body)
        return self._answer(answer)

    @staticmethod
    def _answer(answer: httpx.Response) -> dict[str, Any] | None:
        if answer.status_code >= 500:
            raise AssertionError(f"the sandbox failed: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code < 400 else None


def _bracketed(name: str) -> str:
    first, *rest = name.split("__")
    return first + "".join(f"[{part}]" for part in rest)
