"""Doctor tries every right that a sync writes with, and names the one that is missing."""

import pytest

from meterbridge.cli.vendor_checks import connected, m3ter_checks
from meterbridge.sandbox.m3ter import entry
from meterbridge.sandbox.wire import HttpReply
from meterbridge.settings import load_settings


def rights():
    with connected(load_settings()) as clients:
        return [one for one in m3ter_checks(clients, load_settings()) if one.check == "m3ter rights"]


@pytest.mark.parametrize(
    ("below", "what"), [("accounts", "accounts"), ("accountplans", "account plans"), ("externalmappings", "mappings")]
)
def test_the_missing_right_is_named(open_sandbox, monkeypatch, below, what):
    sandbox = open_sandbox()
    [found] = rights()
    assert found.verdict == "ok"
    assert what in found.words
    answer = entry.answer

    def without(world, request):
        if request.method == "POST" and request.path.endswith(f"/{below}"):
            return HttpReply(403, b'{"message": "Forbidden"}')
        return answer(world, request)

    monkeypatch.setattr(entry, "answer", without)
    before = len(list(sandbox.world.m3ter.accounts.rows()))
    [found] = rights()
    assert (found.verdict, what in found.words) == ("failure", True)
    assert len(list(sandbox.world.m3ter.accounts.rows())) == before
