"""Stored requests, exact numbers, safe addresses, redacted words."""

import pytest

from connectors.transport import Answer, Request, http_date, path, redact
from meterbridge.errors import BrokenInvariant, RetriableError


def test_a_stored_request_comes_back_equal() -> None:
    request = Request("POST", "/invoices/%C3%A9", "amount=1&x=%20é\n", "application/x-www-form-urlencoded")
    assert Request.from_json(request.to_json()) == request
    assert Request.from_json(Request("GET", "/x").to_json()) == Request("GET", "/x")


def test_ids_cannot_leave_their_path_segment() -> None:
    assert path("accounts", "a/b ?#%+@é") == "/accounts/a%2Fb%20%3F%23%25%2B%40%C3%A9"


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_an_id_that_would_address_something_else_is_refused(segment: str) -> None:
    with pytest.raises(BrokenInvariant):
        path("invoices", segment)


def test_decimals_survive_digit_by_digit() -> None:
    body = b'{"a":1234567890123.123456789,"b":[0.10],"c":-1e-7,"d":45}'
    assert Answer(200, body).json_exact() == {"a": "1234567890123.123456789", "b": ["0.10"], "c": "-1e-7", "d": 45}
    assert Answer(200, body).json()["a"] == 1234567890123.1235


@pytest.mark.parametrize("body", [b"<html>", b'{"list":[', b"", b'{"a":NaN}'])
def test_what_cannot_be_read_exactly_is_an_error(body: bytes) -> None:
    with pytest.raises(RetriableError) as caught:
        Answer(200, body).json_exact()
    assert caught.value.code == "MB-ANSWER"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key live_abcdefghijkl1234 is wrong", "key [secret] is wrong"),
        ("got Bearer eyJhbGciOi.x.y here", "got [secret] here"),
        ("token eyJhbGciOi.abc.def", "token [secret]"),
        ("mail ada.l+x@acme.example, taken", "mail [e-mail], taken"),
        ("my own s3cr3t", "my own [secret]"),
        ("two\n lines", "two lines"),
    ],
)
def test_secrets_and_addresses_are_taken_out_of_words(text: str, shown: str) -> None:
    assert redact(text, ("s3cr3t",)) == shown


def test_long_words_are_cut() -> None:
    assert redact("x " * 400) == ("x " * 150) + "…"


def test_http_dates_are_utc() -> None:
    date = http_date("Thu, 01 Jan 2026 00:00:10 GMT")
    assert date is not None
    assert date.isoformat() == "2026-01-01T00:00:10+00:00"
    assert http_date("soon") is None
    assert http_date(None) is None
