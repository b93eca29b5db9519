"""The transport against scripted answers: refusals are final, and no error shows a secret."""

import logging

import httpx
import pytest

from connectors.pacing import Unlimited
from connectors.transport import Request, Transport
from meterbridge.errors import (
    RecordRefused,
    RetriableError,
    SetupError,
)
from tests.contract.transport.conftest import KEY, READ, WRITE, Vendor, answer, refusal


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 422])
def test_a_refusal_is_final_and_carries_the_vendors_words(status: int) -> None:
    vendor = Vendor(refusal(status, "invalid_state_for_request", "Invoice is closed"))
    with pytest.raises(RecordRefused) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    refused = caught.value
    assert (refused.code, refused.status, refused.vendor_code, refused.replayed) == (
        "MB-REFUSED",
        status,
        "invalid_state_for_request",
        False,
    )
    assert refused.message == (
        f"chargebee POST /invoices/d1/add_charge: {status} invalid_state_for_request: Invoice is closed (param amount)"
    )
    assert len(vendor.received) == 1


@pytest.mark.parametrize(
    "step",
    [
        refusal(401, "api_authentication_failed", f"Sorry, {KEY} of ada@acme.example is wrong"),
        refusal(403, "api_authorization_failed", f"key {KEY}"),
        refusal(404, "site_not_found"),
        answer(403, "<html>blocked</html>"),
    ],
    ids=["401", "403", "no-such-site", "proxy"],
)
def test_wrong_credentials_stop_at_once_and_show_no_secret(
    step: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="connectors")
    vendor = Vendor(step)
    with pytest.raises(SetupError) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.code == "MB-CREDENTIALS"
    assert len(vendor.received) == 1
    shown = str(caught.value) + repr(caught.value) + caplog.text
    assert KEY not in shown
    assert "acme.example" not in shown


def test_a_secret_of_any_form_that_the_vendor_echoes_is_not_shown() -> None:
    vendor = Vendor(refusal(400, "x", "you said pass-word-42 and cGFzcy13b3JkLTQyOg=="))
    transport = Transport(
        "chargebee",
        "https://site.example",
        httpx.BasicAuth("pass-word-42", ""),
        vendor,
        client_transport=httpx.MockTransport(vendor),
    )
    with pytest.raises(RecordRefused, match=r"you said \[secret\] and \[secret\]"):
        transport.send(WRITE, repeatable=True)


def test_a_firewalls_403_refuses_the_record_where_the_vendor_has_one() -> None:
    vendor = Vendor(answer(403, "<html>blocked</html>"), answer(403, "<html>blocked</html>"))
    with pytest.raises(RecordRefused):
        vendor.transport(firewall=True).send(WRITE, repeatable=False)
    with pytest.raises(SetupError):
        vendor.transport(firewall=True).send(READ, repeatable=False)


def test_a_redirect_is_a_wrong_base_url() -> None:
    vendor = Vendor(answer(301, "", Location="https://elsewhere.example/?token=1"))
    with pytest.raises(SetupError) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.code == "MB-SETTING"
    assert "elsewhere" not in caught.value.message


@pytest.mark.parametrize("url", ["site.example/api", "ftp://site", "https://", "https://key:@site/api", "https://[::"])
def test_a_base_url_that_is_none_is_a_setting_to_correct(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        Transport("chargebee", url, httpx.BasicAuth("k", ""), Unlimited())
    assert caught.value.code == "MB-SETTING"


def test_no_error_or_log_shows_a_query_a_body_or_what_httpx_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="connectors")
    vendor = Vendor(httpx.ReadTimeout, httpx.ReadTimeout, httpx.ReadTimeout)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(Request("GET", "/customers?email[is]=ada%40acme.example"), repeatable=True)
    records = " ".join(str(record.__dict__) for record in caplog.records)
    assert "acme" not in caught.value.message + records
    assert "secret-host" not in caught.value.message + records
    assert [record.__dict__["attempt"] for record in caplog.records] == [1, 2]
