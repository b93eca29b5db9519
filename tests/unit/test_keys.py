"""Keys, hashes and names: equal exactly when the thing is equal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from meterbridge.rules import keys
from meterbridge.rules.records import Intent, Ref


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(Decimal("1234567890123.123456789"), '"1234567890123.123456789"', id="many-digits"),
        pytest.param(
            Decimal("1234567890123456789012345678901.5"), '"1234567890123456789012345678901.5"', id="over-28-digits"
        ),
        pytest.param(Decimal("1E+3"), '"1000"', id="exponent"),
        pytest.param(Decimal("2.50"), '"2.5"', id="trailing-zero"),
        pytest.param({"b": 1, "a": None}, '{"a":null,"b":1}', id="sorted"),
        pytest.param(("x", ["y"]), '["x",["y"]]', id="tuples-are-lists"),
        pytest.param(datetime(2026, 3, 1, tzinfo=UTC), '"2026-03-01T00:00:00+00:00"', id="instant"),
        pytest.param(Ref("account", ("a", "b")), '{"$ref":["account","a","b"]}', id="reference"),
        pytest.param("Ünï", '"Ünï"', id="letters-stay"),
        pytest.param(True, "true", id="truth"),
    ],
)
def test_canonical_text(value: Any, text: str) -> None:
    assert keys.canonical(value) == text


def test_a_float_has_no_canonical_text() -> None:
    with pytest.raises(TypeError):
        keys.canonical({"amount": 0.1})


def test_a_key_survives_its_text_whatever_is_in_it() -> None:
    for key in [("a-b", "c"), ("a", "b-c"), ('q"uote', "Ü\n"), ("", "x")]:
        assert keys.key_from_text(keys.key_text(key)) == key


def test_two_keys_with_one_external_id_have_two_texts() -> None:
    assert keys.external_id("a-b", "c") == keys.external_id("a", "b-c")
    assert keys.key_text(("a-b", "c")) != keys.key_text(("a", "b-c"))


def test_a_long_account_plan_code_keeps_its_head_and_differs_by_its_tail() -> None:
    one = keys.account_plan_code("s" * 50, "p" * 100, 1)
    other = keys.account_plan_code("s" * 50, "p" * 99 + "q", 1)
    assert len(one) == len(other) == 80
    assert one != other
    assert one[:60] == other[:60]


def test_a_code_never_ends_in_a_space_before_its_tail() -> None:
    code = keys.account_plan_code("s" * 66, " " * 40, 1)
    assert " ~" not in code


def test_an_idempotency_key_fits_the_vendor_and_depends_on_everything() -> None:
    base = {"connection": "default", "site": "acme", "kind": "charge", "key": ("b", "s", "l")}
    made = {
        keys.idempotency_key(**{**base, **change}, generation=generation, fingerprint=fingerprint)
        for change in ({}, {"connection": "x"}, {"site": "x"}, {"kind": "x"}, {"key": ("b", "s")})
        for generation in (1, 2)
        for fingerprint in ("f", "g")
    }
    assert len(made) == 20
    assert all(len(key) <= 100 and key.isascii() for key in made)


def intent(key: str, **change: Any) -> Intent:
    base = {"kind": "charge", "action": "create", "target": "chargebee", "payload": {}, "fingerprint": "f"}
    return Intent(**{**base, "key": (key,), "reason": "r", "scope": "s", **change})


def test_a_change_set_is_the_same_in_any_order_and_another_with_any_other_amount() -> None:
    one, two = intent("a", amount=1), intent("b", amount=2)
    assert keys.change_set_hash([one, two]) == keys.change_set_hash([two, one])
    assert keys.change_set_hash([one, two]) != keys.change_set_hash([one, intent("b", amount=3)])
    assert keys.change_set_hash([one]) != keys.change_set_hash([one, two])


def test_a_charges_long_identity_is_shown_as_its_reference() -> None:
    key = ("bill", "sub", '["USAGE","p"]')
    assert keys.shown(key) == f"bill / sub / {keys.reference(key)}"
