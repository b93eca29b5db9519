"""The m3ter client and its token against a scripted organisation."""

import base64
import json
import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.m3ter import requests
from connectors.m3ter.client import M3terClient
from connectors.m3ter.models import Account, Bill
from connectors.pacing import Unlimited
from connectors.records import read_record
from connectors.transport import RetryPolicy
from meterbridge.errors import OutcomeUnknown, RecordRefused, RetriableError, SetupError, Throttled

ORG = "11111111-2222-3333-4444-555555555555"
SECRET = "s3cr3t-of-the-service-user"
BILL_TEXT = (
    b'{"id":"b1","version":3,"accountId":"a1","currency":"EUR","status":"APPROVED","billDate":"2026-04-01",'
    b'"billTotal":1234567890123.123456789,"lineItems":[{"lineItemType":"USAGE","description":"d","quantity":1,'
    b'"units":1,"unit":"u","averageUnitPrice":0.10,"subtotal":1234567890123.123456789,"currency":"EUR",'
    b'"conversionRate":1.0,"convertedSubtotal":1234567890123.123456789}]}'
)


class Organisation:
    """Gives numbered tokens, and answers by a function of (request, token) or with one body."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response] | Any = None) -> None:
        self.respond = respond if callable(respond) else lambda request: httpx.Response(200, json=respond or {})
        self.token_answer: Callable[[int], httpx.Response] = lambda n: httpx.Response(
            200, json={"access_token": f"token-{n}", "token_type": "Bearer", "expires_in": 18000}
        )
        self.token_requests: list[httpx.Request] = []
        self.received: list[httpx.Request] = []
        self.tokens_seen: list[str] = []
        self.now = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            self.token_requests.append(request)
            return self.token_answer(len(self.token_requests))
        self.received.append(request)
        self.tokens_seen.append(request.headers["authorization"])
        return self.respond(request)

    def client(self) -> M3terClient:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return M3terClient.connect(
            base_url="https://api.m3ter.example",
            organization_id=ORG,
            api_key="access-key-id",
            api_secret=SECRET,
            pacer=Unlimited(),
            client_transport=httpx.MockTransport(self),
            policy=RetryPolicy(attempts=2, first_delay=0.0),
            monotonic=lambda: self.now,
            sleep=sleep,
        )


def forbidden(request: httpx.Request) -> httpx.Response:
    return httpx.Response(403, json={"message": "Forbidden"})


# --- the token --------------------------------------------------------------------


def test_the_token_is_asked_for_once_with_client_credentials_and_kept() -> None:
    org = Organisation({"id": "a1"})
    client = org.client()
    client.account("a1")
    client.account("a1")
    assert len(org.token_requests) == 1
    asked = org.token_requests[0]
    assert asked.method == "POST"
    assert json.loads(asked.content) == {"grant_type": "client_credentials"}
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")) == f"access-key-id:{SECRET}".encode()
    assert org.tokens_seen == ["Bearer token-1", "Bearer token-1"]


def test_the_token_is_renewed_five_minutes_before_it_expires() -> None:
    org = Organisation({"id": "a1"})
    client = org.client()
    client.account("a1")
    org.now = 17699.0
    client.account("a1")
    org.now = 17700.0
    client.account("a1")
    assert org.tokens_seen == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_short_lived_token_is_not_fetched_for_every_request() -> None:
    org = Organisation({"id": "a1"})
    org.token_answer = lambda n: httpx.Response(200, json={"access_token": f"t{n}", "expires_in": 60})
    client = org.client()
    client.account("a1")
    client.account("a1")
    assert len(org.token_requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_token_is_renewed_once_and_the_request_repeated_once(status: int) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] == "Bearer token-1":
            return httpx.Response(status, json={"message": "expired"})
        return httpx.Response(200, json={"id": "a1"})

    org = Organisation(respond)
    org.client().send(requests.create_account(ORG, {"code": "c"}))
    assert org.tokens_seen == ["Bearer token-1", "Bearer token-2"]
    assert [request.content for request in org.received] == [b'{"code":"c"}'] * 2


def test_a_403_that_stays_is_a_credentials_error_after_one_renewal() -> None:
    org = Organisation(forbidden)
    with pytest.raises(SetupError) as caught:
        org.client().send(requests.create_account(ORG, {"code": "c"}))
    assert caught.value.code == "MB-CREDENTIALS"
    assert "403: Forbidden" in caught.value.message
    assert len(org.token_requests) == 2
    assert len(org.received) == 2


def test_a_wrong_secret_is_one_clear_line_without_the_secret() -> None:
    org = Organisation()
    org.token_answer = lambda n: httpx.Response(401, json={"message": f"bad access-key-id {SECRET}"})
    with pytest.raises(SetupError) as caught:
        org.client().account("a1")
    assert caught.value.code == "MB-CREDENTIALS"
    assert caught.value.message == "m3ter POST /oauth/token: 401: bad [secret] [secret]"
    assert org.received == []
    assert len(org.token_requests) == 1


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (httpx.Response(503, text="busy"), RetriableError),
        (httpx.Response(429, json={"message": "x"}), Throttled),
        (httpx.Response(200, text="<html>"), RetriableError),
        (httpx.Response(200, json={"access_token": "x"}), RetriableError),
    ],
    ids=["503", "429", "html", "no-lifetime"],
)
def test_without_a_token_a_write_has_not_been_sent_and_is_no_unknown(
    token: httpx.Response, error: type[Exception]
) -> None:
    org = Organisation()
    org.token_answer = lambda n: token
    with pytest.raises(error):
        org.client().send(requests.create_account(ORG, {"code": "c"}))
    assert org.received == []
    assert len(org.token_requests) == 2


def test_a_lost_answer_to_the_token_request_is_no_lost_write() -> None:
    org = Organisation({"id": "a1"})

    def token(n: int) -> httpx.Response:
        if n == 1:
            raise httpx.ReadTimeout("silence")
        return httpx.Response(200, json={"access_token": "t", "expires_in": 18000})

    org.token_answer = token

    client = org.client()
    client.send(requests.create_account(ORG, {"code": "c"}))
    assert len(org.received) == 1


def test_many_threads_share_one_fetch() -> None:
    org = Organisation({"id": "a1"})
    gate = threading.Barrier(12)
    client = org.client()

    def work() -> None:
        gate.wait(5)
        client.account("a1")

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(org.received) == 12
    assert len(org.token_requests) == 1


# --- writes -----------------------------------------------------------------------


def test_a_lost_answer_to_a_write_is_not_repeated() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("silence", request=request)

    org = Organisation(respond)
    with pytest.raises(OutcomeUnknown):
        org.client().send(requests.create_account(ORG, {"code": "c"}))
    assert len(org.received) == 1


def test_a_landed_write_whose_answer_misses_fields_is_unknown_and_never_refused() -> None:
    answer = Organisation({"id": "a1"}).client().send(requests.create_account(ORG, {"code": "c"}))
    with pytest.raises(OutcomeUnknown, match="account a1: version is missing"):
        M3terClient.parse(Account, answer, resource="account")


def test_text_that_the_firewall_dislikes_refuses_the_record_only() -> None:
    org = Organisation(lambda request: httpx.Response(403, text="<html>Request blocked</html>"))
    with pytest.raises(RecordRefused) as caught:
        org.client().send(requests.create_account(ORG, {"name": "DROP TABLE; --"}))
    assert caught.value.status == 403


# --- reads ------------------------------------------------------------------------


def test_tokens_of_pages_go_back_verbatim_with_the_filters() -> None:
    pages = [{"data": [{"id": "1"}], "nextToken": "a+/="}, {"data": [], "nextToken": "b"}, {"data": [{"id": "2"}]}]
    org = Organisation(lambda request: httpx.Response(200, json=pages[len(org.received) - 1]))
    got = list(org.client().list("/accountplans", [("account", "a1")], page_size=50))
    assert got == [[{"id": "1"}], [], [{"id": "2"}]]
    assert [request.url.raw_path.decode() for request in org.received] == [
        f"/organizations/{ORG}/accountplans?pageSize=50&account=a1",
        f"/organizations/{ORG}/accountplans?pageSize=50&account=a1&nextToken=a%2B%2F%3D",
        f"/organizations/{ORG}/accountplans?pageSize=50&account=a1&nextToken=b",
    ]


@pytest.mark.parametrize("token", [None, ""])
def test_an_empty_token_ends_the_list(token: str | None) -> None:
    org = Organisation({"data": [], "nextToken": token})
    assert list(org.client().list("/products")) == [[]]


def test_a_list_that_goes_round_in_circles_ends_with_an_error() -> None:
    org = Organisation({"data": [{"id": "1"}], "nextToken": "same"})
    with pytest.raises(RetriableError) as caught:
        list(org.client().products())
    assert caught.value.code == "MB-ANSWER"
    assert len(org.received) == 2


def test_a_page_without_data_is_an_error_not_an_empty_list() -> None:
    with pytest.raises(RetriableError):
        list(Organisation({"items": []}).client().products())


def test_accounts_are_looked_up_fifty_codes_at_a_time_each_code_by_itself() -> None:
    org = Organisation({"data": []})
    codes = [f"cust,{n}" for n in range(51)]
    assert list(org.client().accounts(codes=codes)) == []
    sent = [[value for name, value in request.url.params.multi_items() if name == "codes"] for request in org.received]
    assert sent == [codes[:50], codes[50:]]


def test_no_codes_mean_no_request_and_no_filter_means_all() -> None:
    org = Organisation({"data": [{"id": "a1"}]})
    client = org.client()
    assert list(client.accounts(codes=[])) == []
    assert org.received == []
    assert list(client.accounts()) == [{"id": "a1"}]


def test_long_foreign_codes_are_split_so_that_no_address_grows_too_long() -> None:
    org = Organisation({"data": []})
    list(org.client().accounts(codes=["é" * 80] * 50))
    assert len(org.received) > 1
    assert all(len(request.url.raw_path) < 7000 for request in org.received)
    assert sum(len(request.url.params.get_list("codes")) for request in org.received) == 50


def test_history_of_account_plans_is_asked_for() -> None:
    org = Organisation({"data": []})
    list(org.client().account_plans("a1"))
    assert org.received[0].url.params.multi_items() == [("pageSize", "100"), ("account", "a1"), ("includeall", "true")]


def test_a_bills_amounts_survive_from_socket_to_decimal() -> None:
    org = Organisation(lambda request: httpx.Response(200, content=BILL_TEXT))
    raw = org.client().bill("b1")
    assert raw["lineItems"][0]["convertedSubtotal"] == "1234567890123.123456789"
    bill = read_record(Bill, raw, resource="bill")
    assert bill.bill_total == Decimal("1234567890123.123456789")


def test_lines_that_a_bill_leaves_out_are_paged() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/lineitems"):
            return httpx.Response(200, content=b'{"data":[{"id":"l1","convertedSubtotal":0.10}]}')
        return httpx.Response(200, json={"id": "b/1"})

    org = Organisation(respond)
    assert org.client().bill("b/1")["lineItems"] == [{"id": "l1", "convertedSubtotal": "0.10"}]
    assert org.received[1].url.raw_path.startswith(f"/organizations/{ORG}/bills/b%2F1/lineitems?".encode())


def test_bills_are_asked_for_by_bill_date_without_their_lines() -> None:
    org = Organisation({"data": []})
    list(org.client().bills(bill_date_start=date(2026, 1, 1), status="APPROVED"))
    assert org.received[0].url.params.multi_items() == [
        ("pageSize", "100"),
        ("billDateStart", "2026-01-01"),
        ("status", "APPROVED"),
        ("excludeLineItems", "true"),
        ("includeBillTotal", "true"),
    ]


def test_mappings_are_looked_up_from_both_sides_by_encoded_ids() -> None:
    row = {
        "id": "m1",
        "m3terEntity": "Account",
        "m3terId": "a1",
        "externalSystem": "Chargebee",
        "externalTable": "Customer",
        "externalId": "a b+c@d/é",
    }
    org = Organisation({"data": [row]})
    client = org.client()
    assert client.mappings_for("Chargebee", "Customer", "a b+c@d/é")[0].m3ter_id == "a1"
    assert client.mappings_of("Account", "a1")[0].external_id == "a b+c@d/é"
    assert next(client.external_mappings()).m3ter_entity == "Account"
    paths = [request.url.raw_path.decode().removeprefix(f"/organizations/{ORG}") for request in org.received]
    assert paths == [
        "/externalmappings/externalid/Chargebee/Customer/a%20b%2Bc%40d%2F%C3%A9?pageSize=200",
        "/externalmappings/external/Account/a1?pageSize=200",
        "/externalmappings?pageSize=200&externalSystemId=Chargebee",
    ]


def test_the_organisations_settings_come_typed() -> None:
    settings = Organisation(
        {"currency": "EUR", "timezone": "UTC", "allowOverlappingPlans": True, "scheduledBillInterval": 0.5}
    )
    config = settings.client().organization_config()
    assert (config.allow_overlapping_plans, config.scheduled_bill_interval) == (True, Decimal("0.5"))


def test_the_names_that_mappings_may_use_come_typed() -> None:
    system = {"name": "Chargebee", "tables": ["Customer"], "allowCustomExternalTables": True}
    names = Organisation({"m3terEntities": ["Account"], "externalSystems": [system]}).client().mapping_configuration()
    assert names.m3ter_entities == ("Account",)
    assert names.external_systems[0].allow_custom_external_tables


def test_what_is_not_there_is_none_where_asked_so() -> None:
    org = Organisation(lambda request: httpx.Response(404, json={"message": "not found"}))
    assert org.client().get_or_none("/accounts/x") is None
    with pytest.raises(RecordRefused) as caught:
        org.client().account("x")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("read", "below"),
    [
        (lambda client: client.plans(), "/plans?pageSize=100"),
        (lambda client: client.plan_templates(), "/plantemplates?pageSize=100"),
        (lambda client: client.currencies(), "/picklists/currency?pageSize=100"),
        (lambda client: client.integration_configs(), "/integrationconfigs?pageSize=200"),
        (
            lambda client: client.events("billing.bill.updated"),
            "/events?pageSize=100&eventName=billing.bill.updated&includeActioned=true",
        ),
    ],
)
def test_each_list_has_its_address(read: Callable[[M3terClient], Any], below: str) -> None:
    org = Organisation({"data": []})
    assert list(read(org.client())) == []
    assert org.received[0].url.raw_path.decode() == f"/organizations/{ORG}{below}"
