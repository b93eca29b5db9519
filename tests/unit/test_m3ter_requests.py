"""Each write of ours on m3ter, byte by byte."""

import pytest

from connectors.m3ter import requests
from connectors.transport import Request
from meterbridge.errors import BrokenInvariant

ORG = "0000-org"


@pytest.mark.parametrize(
    ("request_", "method", "path"),
    [
        (requests.create_account(ORG, {}), "POST", "/accounts"),
        (requests.update_account(ORG, "a1", {"version": 1}), "PUT", "/accounts/a1"),
        (requests.create_account_plan(ORG, {}), "POST", "/accountplans"),
        (requests.update_account_plan(ORG, "p1", {"version": 1}), "PUT", "/accountplans/p1"),
        (requests.replace_account_plan(ORG, "p1", {}), "POST", "/accountplans/p1/replace"),
        (requests.delete_account_plan(ORG, "p1"), "DELETE", "/accountplans/p1"),
        (requests.create_mapping(ORG, {}), "POST", "/externalmappings"),
        (requests.update_mapping(ORG, "m1", {"version": 1}), "PUT", "/externalmappings/m1"),
        (requests.delete_mapping(ORG, "m1"), "DELETE", "/externalmappings/m1"),
    ],
)
def test_each_write_has_its_address(request_: Request, method: str, path: str) -> None:
    assert (request_.method, request_.path) == (method, f"/organizations/{ORG}{path}")


def test_the_same_intent_gives_the_same_bytes_whatever_the_order_of_its_fields() -> None:
    one = requests.create_account(ORG, {"name": "Süd", "code": "c", "address": {"b": 1, "a": 2}})
    other = requests.create_account(ORG, {"address": {"a": 2, "b": 1}, "code": "c", "name": "Süd"})
    assert one == other
    assert one.body == '{"address":{"a":2,"b":1},"code":"c","name":"Süd"}'
    assert one.content_type == "application/json"


def test_an_update_without_the_version_that_was_read_is_our_bug() -> None:
    with pytest.raises(BrokenInvariant, match="version"):
        requests.update_account(ORG, "a1", {"name": "x"})
