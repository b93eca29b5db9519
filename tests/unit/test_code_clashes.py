"""Two customers whose ids differ only in case: the second one's account is set aside before m3ter refuses it."""

import pytest

from meterbridge.rules.code_clashes import clashes
from meterbridge.rules.records import Intent


def account(code, action="create"):
    return Intent("account", (code,), action, "m3ter", {"code": code}, "", "", f"account:{code}", source_version=7)


@pytest.mark.parametrize(
    ("intents", "known", "again", "expected"),
    [
        pytest.param([account("Acme"), account("acme")], [], (), ["acme"], id="the-first-one-has-it"),
        pytest.param([account("acme")], ["ACME"], (), ["acme"], id="the-ledger-s-has-it"),
        pytest.param([account("acme", "adopt"), account("Acme")], [], (), ["Acme"], id="what-stands-has-it"),
        pytest.param([account("Acme", "update"), account("acme")], ["Acme"], (), ["acme"], id="an-update-takes-none"),
        pytest.param([account("acme")], ["acme", "other"], (), [], id="its-own"),
        pytest.param([account("acme")], ["ACME"], ("acme",), [], id="a-person-wants-it-tried"),
        pytest.param([account("straße"), account("STRASSE")], [], (), ["STRASSE"], id="folded-not-lowered"),
    ],
)
def test_who_is_set_aside(intents, known, again, expected):
    found = clashes(intents, known, frozenset((key,) for key in again))
    assert [(one.code, one.key, one.source_version) for one in found] == [
        ("MB-ACCOUNT-CLASH", (key,), 7) for key in expected
    ]
