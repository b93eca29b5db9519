"""A vendor that quotes what only the other one should know: it stands in no error and no log line."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from connectors.m3ter.requests import delete_mapping
from meterbridge import log
from meterbridge.errors import MeterbridgeError
from meterbridge.settings import load_settings
from tests.contract.test_chargebee_client import Site
from tests.contract.test_m3ter_client import ORG, Organisation

KEY, SECRET = "cb key+of-the site", "m3 secret/of+the bridge"
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda text: quote(text, safe=""),
    "as Basic credentials": lambda text: base64.b64encode(f"{text}:".encode()).decode(),
}


def chargebee_says(words: str, status: int) -> None:
    Site({"message": words, "api_error_code": "api_authentication_failed"}, status=status).client().customer("c")


def m3ter_says(words: str, status: int) -> None:
    refusing = Organisation(lambda _request: httpx.Response(status, json={"message": words}))
    refusing.client().send(delete_mapping(ORG, "m1"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize(("says", "secret"), [(chargebee_says, SECRET), (m3ter_says, KEY)], ids=["chargebee", "m3ter"])
def test_the_other_vendors_secret_is_masked(
    monkeypatch: pytest.MonkeyPatch, says: Callable[[str, int], None], secret: str, status: int, form: str
) -> None:
    """A connector knows only what it sends itself: the settings register the secrets of both."""
    monkeypatch.setenv("CHARGEBEE_API_KEY", KEY)
    monkeypatch.setenv("M3TER_API_SECRET", SECRET)
    load_settings()
    echoed = FORMS[form](secret)
    with pytest.raises(MeterbridgeError) as failure:
        says(f"who sent {echoed} here?", status)
    assert "who sent [secret] here?" in failure.value.message
    made = logging.makeLogRecord(
        {"name": "tasks.x", "msg": "refused: %s", "args": (echoed,), "url": f"/x?key={echoed}"}
    )
    assert log.Redaction().filter(made)
    for line in (log.JsonLines().format(made), log.TerminalText().format(made), str(failure.value)):
        assert echoed not in line
        assert "[secret]" in line
