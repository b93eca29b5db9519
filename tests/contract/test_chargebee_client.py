"""The Chargebee client against scripted pages."""

from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from connectors.chargebee import requests
from connectors.chargebee.client import ChargebeeClient
from connectors.chargebee.encoding import between, in_list
from connectors.pacing import Unlimited
from connectors.transport import RetryPolicy
from meterbridge.errors import BrokenInvariant, OutcomeUnknown, RecordRefused, RetriableError

LINE = {
    "id": "li_1",
    "entity_type": "charge_item_price",
    "entity_id": "api-EUR",
    "description": "API",
    "date_from": 1,
    "date_to": 2,
    "unit_amount": 5,
    "amount": 5,
}
INVOICE = {
    "id": "draft_inv_1",
    "status": "pending",
    "customer_id": "c1",
    "currency_code": "EUR",
    "price_type": "tax_exclusive",
    "date": 10,
    "total": 5,
    "sub_total": 5,
    "line_items": [LINE],
}


class Site:
    """Answers in order; the last answer repeats."""

    def __init__(self, *answers: Any, status: int = 200) -> None:
        self.answers = list(answers)
        self.status = status
        self.received: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.received.append(request)
        body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(body, bytes):
            return httpx.Response(self.status, content=body)
        return httpx.Response(self.status, json=body)

    def client(self) -> ChargebeeClient:
        return ChargebeeClient.connect(
            base_url="https://acme-test.example/api/v2",
            api_key="k",
            pacer=Unlimited(),
            client_transport=httpx.MockTransport(self),
            policy=RetryPolicy(attempts=2, first_delay=0.0),
        )

    def queries(self) -> list[list[tuple[str, str]]]:
        return [parse_qsl(request.url.query.decode(), strict_parsing=True) for request in self.received]


def test_the_key_is_the_user_name_and_the_password_is_empty() -> None:
    site = Site({"configurations": [{"domain": "acme-test", "product_catalog_version": "v2"}]})
    configuration = site.client().configuration()
    assert configuration.product_catalog_version == "v2"
    assert site.received[0].url.path == "/api/v2/configurations"
    assert site.received[0].headers["authorization"] == "Basic azo="


def test_offsets_go_back_verbatim_and_filters_are_repeated_on_every_page() -> None:
    offset = '["1767225601000","48211907"]'
    site = Site(
        {"list": [{"subscription": {"id": "a"}}, {"subscription": {"id": "b"}}], "next_offset": offset}, {"list": []}
    )
    filters = {"updated_at[between]": between(1, 9), "status[in]": in_list(["active"]), "include_deleted": "true"}
    pages = list(site.client().pages("subscriptions", filters, sort_by="updated_at"))
    assert [(page.rows, page.next_offset) for page in pages] == [(2, offset), (0, None)]
    expected = [("limit", "100"), ("sort_by[asc]", "updated_at"), *filters.items()]
    assert site.queries() == [expected, [*expected, ("offset", offset)]]


def test_a_page_keeps_its_bytes() -> None:
    body = b'{"list": [{"event": {"id": "\xc3\xa9"}}] }\n'
    assert [page.body for page in Site(body).client().pages("events")] == [body]


def test_an_offset_inside_a_record_is_not_the_pages() -> None:
    body = b'{"next_offset":"real","list":[{"customer":{"meta_data":{"next_offset":"not this"}}}]}'
    pages = Site(body, {"list": []}).client().pages("customers")
    assert next(pages).next_offset == "real"


def test_a_list_that_goes_round_in_circles_ends_with_an_error() -> None:
    site = Site({"list": [], "next_offset": "a"}, {"list": [], "next_offset": "b"}, {"list": [], "next_offset": "a"})
    with pytest.raises(RetriableError) as caught:
        list(site.client().pages("events"))
    assert caught.value.code == "MB-ANSWER"
    assert len(site.received) == 3


@pytest.mark.parametrize("body", [{"lists": []}, {"list": {}}, {"list": [1]}, b'{"list":[{"a":1}'], ids=str)
def test_a_page_that_is_none_is_an_error_not_an_empty_list(body: Any) -> None:
    with pytest.raises(RetriableError) as caught:
        list(Site(body).client().pages("events"))
    assert caught.value.code == "MB-ANSWER"


def test_a_filter_that_chargebee_would_ignore_is_never_sent() -> None:
    site = Site({"list": []})
    with pytest.raises(BrokenInvariant, match="status"):
        list(site.client().pages("subscriptions", {"status": "active"}))
    assert site.received == []


def test_rows_are_the_wrapped_entries_of_all_pages() -> None:
    site = Site({"list": [{"invoice": {"id": "1"}}], "next_offset": "x"}, {"list": [{"invoice": {"id": "2"}}]})
    assert list(site.client().rows("invoices")) == [{"invoice": {"id": "1"}}, {"invoice": {"id": "2"}}]


def test_an_invoice_is_read_by_its_encoded_id() -> None:
    site = Site({"invoice": INVOICE})
    assert site.client().invoice("a/b é").line_items[0].entity_id == "api-EUR"
    assert site.received[0].url.raw_path == b"/api/v2/invoices/a%2Fb%20%C3%A9"


def test_lines_that_were_kept_back_are_fetched() -> None:
    rest = {**INVOICE, "line_items": [{**LINE, "id": "li_2"}]}
    site = Site({"invoice": {**INVOICE, "line_items_next_offset": "o/1"}}, {"invoice": rest})
    invoice = site.client().invoice("draft_inv_1")
    assert [line.id for line in invoice.line_items] == ["li_1", "li_2"]
    assert invoice.line_items_next_offset is None
    assert site.received[1].url.query == b"line_items_offset=o%2F1"


def test_a_draft_that_is_gone_is_none_and_other_refusals_are_not() -> None:
    gone = {"message": "x", "api_error_code": "resource_not_found", "param": "invoice_id"}
    assert Site(gone, status=404).client().invoice_or_none("draft_inv_1") is None
    with pytest.raises(RecordRefused) as caught:
        Site(gone, status=404).client().invoice("draft_inv_1")
    assert caught.value.status == 404
    with pytest.raises(RecordRefused):
        Site(gone, status=400).client().invoice_or_none("draft_inv_1")


@pytest.mark.parametrize("kind", ["subscription", "customer", "event"])
def test_single_reads_come_wrapped_like_list_entries(kind: str) -> None:
    site = Site({kind: {"id": "x y"}})
    assert getattr(site.client(), kind)("x y") == {kind: {"id": "x y"}}
    assert site.received[0].url.raw_path == f"/api/v2/{kind}s/x%20y".encode()
    with pytest.raises(RetriableError):
        getattr(Site({"other": {}}).client(), kind)("x y")


def test_a_write_carries_its_key_and_its_answer_holds_the_invoice() -> None:
    site = Site({"invoice": INVOICE})
    request = requests.add_charge("draft_inv_1", amount=5, description="x", date_from=1, date_to=2)
    answer = site.client().send(request, idempotency_key="intent-1", resend_until=float("inf"))
    assert site.received[0].headers["chargebee-idempotency-key"] == "intent-1"
    assert ChargebeeClient.parse_invoice(answer).id == "draft_inv_1"


@pytest.mark.parametrize(
    "body",
    [
        {"invoice": {"id": "draft_inv_1"}},
        {"other": {}},
        {"invoice": {**INVOICE, "line_items_next_offset": "o"}},
    ],
    ids=["fields-missing", "no-invoice", "lines-kept-back"],
)
def test_a_landed_write_whose_answer_cannot_be_checked_is_unknown_and_never_refused(body: Any) -> None:
    request = requests.delete_line_items("draft_inv_1", ["li_1"])
    answer = Site(body).client().send(request, idempotency_key="intent-1", resend_until=float("inf"))
    with pytest.raises(OutcomeUnknown):
        ChargebeeClient.parse_invoice(answer)


def test_a_page_cut_off_inside_names_its_list() -> None:
    with pytest.raises(RetriableError, match="chargebee GET /subscriptions: the answer is not JSON"):
        list(Site(b'{"list":[{"a":{}}').client().pages("subscriptions", {"customer_id[is]": "x"}))


def test_a_write_whose_answer_never_makes_sense_is_unknown_after_its_tries() -> None:
    site = Site(b"<html>", status=200)
    request = requests.add_charge("draft_inv_1", amount=5, description="x", date_from=1, date_to=2)
    with pytest.raises(OutcomeUnknown):
        site.client().send(request, idempotency_key="intent-1", resend_until=float("inf"))
    assert {request.headers["chargebee-idempotency-key"] for request in site.received} == {"intent-1"}
    assert len(site.received) == 2


@pytest.mark.parametrize("key", ["", "k" * 101, "é", "a\nb"])
def test_a_key_that_chargebee_might_not_honour_is_never_sent(key: str) -> None:
    site = Site({"invoice": INVOICE})
    with pytest.raises(BrokenInvariant):
        site.client().send(requests.delete_line_items("d", ["li"]), idempotency_key=key, resend_until=float("inf"))
    assert site.received == []
