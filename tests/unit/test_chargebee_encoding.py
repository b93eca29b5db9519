"""Forms and filters exactly as Chargebee wants them."""

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from connectors.chargebee.encoding import between, form, in_list, query
from meterbridge.errors import BrokenInvariant


@pytest.mark.parametrize(
    ("parameters", "pairs"),
    [
        pytest.param({"amount": 5}, [("amount", "5")], id="integer"),
        pytest.param({"a": True, "b": False}, [("a", "true"), ("b", "false")], id="booleans-are-words"),
        pytest.param({"a": None, "b": "x"}, [("b", "x")], id="none-is-left-out"),
        pytest.param({"note": ""}, [("note", "")], id="empty-text-clears"),
        pytest.param({"line_item": {"date_from": 1}}, [("line_item[date_from]", "1")], id="group-has-no-index"),
        pytest.param(
            {"charges": [{"amount": 1, "description": "a"}, {"amount": 2}]},
            [("charges[amount][0]", "1"), ("charges[description][0]", "a"), ("charges[amount][1]", "2")],
            id="index-comes-last",
        ),
        pytest.param({"coupon_ids": ["x", "y"]}, [("coupon_ids[0]", "x"), ("coupon_ids[1]", "y")], id="scalars"),
        pytest.param({"id": "Ölmühle & Co+1 =?"}, [("id", "Ölmühle & Co+1 =?")], id="any-letter-survives"),
    ],
)
def test_forms_are_flattened(parameters: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    assert parse_qsl(form(parameters), keep_blank_values=True, strict_parsing=True) == pairs


@pytest.mark.parametrize("amount", [1.5, Decimal("1.5")], ids=["float", "decimal"])
def test_an_amount_that_was_not_rounded_is_not_sent(amount: Any) -> None:
    with pytest.raises(BrokenInvariant, match="line_item"):
        form({"line_item": {"amount": amount}})


def test_in_list_is_json_text_that_keeps_commas_and_quotes_apart() -> None:
    assert in_list(["a,b", 'c"d', "é"]) == '["a,b","c\\"d","é"]'


def test_between_is_a_pair_of_seconds() -> None:
    assert between(1, 2) == "[1,2]"


def test_a_window_of_no_width_is_refused_for_chargebee_refuses_it() -> None:
    with pytest.raises(BrokenInvariant):
        between(5, 5)


def test_an_offset_goes_out_letter_for_letter() -> None:
    offset = '["1767225601000","48211907"]'
    assert parse_qsl(query({"offset": offset})) == [("offset", offset)]
    assert " " not in query({"a": "b c"})
    assert "+" not in query({"a": "b c"})
