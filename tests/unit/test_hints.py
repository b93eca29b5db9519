"""What the vendors' webhooks tell, and who may send them: tables of bodies and headers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from connectors import hints
from connectors.chargebee import webhooks as chargebee
from connectors.hints import Hint
from connectors.m3ter import webhooks as m3ter
from meterbridge.errors import RecordRefused


def told(event_type: str, **content: Any) -> bytes:
    event = {"id": "ev_1", "object": "event", "occurred_at": 1_769_907_000, "event_type": event_type}
    return json.dumps({**event, "content": content}).encode()


SUBSCRIPTION = {"id": "sub-1", "customer_id": "c-1", "resource_version": 1_769_907_000_412}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            told("subscription_changed", subscription=SUBSCRIPTION, customer={"id": "c-1", "email": "a@b.example"}),
            Hint("ev_1", "subscription_changed", "subscription", "sub-1", 1_769_907_000, 1_769_907_000_412),
            id="a-subscription-with-its-version",
        ),
        pytest.param(
            told("customer_changed", customer={"id": "Ölmühle / 2"}),
            Hint("ev_1", "customer_changed", "customer", "Ölmühle / 2", 1_769_907_000),
            id="a-customer-of-any-letters",
        ),
        pytest.param(
            told("pending_invoice_created", invoice={"id": "draft_1"}),
            Hint("ev_1", "pending_invoice_created", "nothing", "", 1_769_907_000),
            id="an-invoice-concerns-nothing",
        ),
        pytest.param(
            told("subscription_created", subscription={"id": "cbdemo_1"}, customer={"id": "cbdemo_c"}),
            Hint("ev_1", "subscription_created", "sample"),
            id="a-test-event-is-a-sample",
        ),
    ],
)
def test_a_chargebee_event_names_what_to_read_again(body: bytes, expected: Hint) -> None:
    assert chargebee.parse(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"event=1", id="form"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"\xff\xfe{}", id="not-text"),
        pytest.param(b"[" * 100_000, id="too-deep"),
        pytest.param(json.dumps({"event": {"id": "ev_1"}}).encode(), id="wrapped-as-in-the-list"),
        pytest.param(told("subscription_changed", customer={"id": "c"}), id="without-its-subscription"),
        pytest.param(told("subscription_changed", subscription={"id": ""}), id="without-an-id"),
        pytest.param(told("customer_changed", customer={"id": "x" * 201}), id="with-an-id-longer-than-any"),
        pytest.param(told("customer_changed", customer={"id": "a\x00b"}), id="with-an-id-no-database-takes"),
        pytest.param(told("", subscription=SUBSCRIPTION), id="without-a-type"),
    ],
)
def test_a_body_that_is_no_event_is_refused_without_its_values(body: bytes) -> None:
    with pytest.raises(RecordRefused) as refusal:
        chargebee.parse(body)
    assert refusal.value.code == "MB-WEBHOOK"
    assert "sub-1" not in str(refusal.value)


UPDATED = {"id": "bill-1", "version": 3, "status": "APPROVED"}
EVENT = {"id": "ev-9", "eventName": "billing.bill.updated", "eventTime": "2026-04-12T00:10:00.000Z"}
AT = 1_775_952_600.0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            EVENT | {"m3terEvent": {"eventData": {"newDto": UPDATED, "oldDto": {"id": "other"}}}},
            Hint("ev-9", "billing.bill.updated", "bill", "bill-1", AT, 3),
            id="as-the-events-list-shows-it",
        ),
        pytest.param(
            {"event": EVENT | {"new": UPDATED}},
            Hint("ev-9", "billing.bill.updated", "bill", "bill-1", AT, 3),
            id="wrapped-with-the-rule's-names",
        ),
        pytest.param(EVENT, Hint("ev-9", "billing.bill.updated", "bills", "", AT), id="without-a-bill-some-bill"),
        pytest.param(
            EVENT | {"eventName": "configuration.plan.updated"},
            Hint("ev-9", "configuration.plan.updated", "nothing"),
            id="a-plan-concerns-nothing",
        ),
    ],
)
def test_a_notification_names_the_bill_wherever_it_stands(body: dict[str, Any], expected: Hint) -> None:
    assert m3ter.parse(json.dumps(body).encode()) == expected


def test_a_notification_without_an_id_is_named_after_its_bytes() -> None:
    body = json.dumps({"eventName": "billing.bill.updated"}).encode()
    assert m3ter.parse(body) == m3ter.parse(body)
    assert m3ter.parse(body).event_id != m3ter.parse(body + b" ").event_id


def test_a_notification_without_an_event_name_is_refused() -> None:
    with pytest.raises(RecordRefused):
        m3ter.parse(b'{"id": "ev-9"}')


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(basic("hook:pass:word"), True, id="right"),
        pytest.param(basic("hook:pass:wore"), False, id="last-letter-wrong"),
        pytest.param(basic("hook:"), False, id="no-password"),
        pytest.param(basic("Hook:pass:word"), False, id="user-wrong"),
        pytest.param(b"Bearer pass:word", False, id="another-scheme"),
        pytest.param(b"", False, id="empty"),
        pytest.param(None, False, id="absent"),
        pytest.param(b"\xff\xff", False, id="no-text"),
    ],
)
def test_chargebee_is_let_in_with_user_and_password_alone(header: bytes | None, expected: bool) -> None:
    assert chargebee.authorized(header, "hook", "pass:word") is expected


@pytest.mark.parametrize(
    ("path", "headers", "key", "expected"),
    [
        pytest.param("s3cret", [(b"x-api-key", b"k")], "k", True, id="path-and-key"),
        pytest.param("s3cret", [(b"authorization", b"Bearer k")], "k", True, id="key-behind-a-scheme"),
        pytest.param("s3cret", [], "", True, id="no-key-asked-for"),
        pytest.param("s3cret", [(b"x-api-key", b"K")], "k", False, id="key-wrong"),
        pytest.param("s3cret", [], "k", False, id="key-absent"),
        pytest.param("s3cre", [(b"x-api-key", b"k")], "k", False, id="path-wrong"),
        pytest.param("", [(b"x-api-key", b"k")], "k", False, id="path-empty"),
    ],
)
def test_m3ter_is_let_in_with_path_and_key(
    path: str, headers: list[tuple[bytes, bytes]], key: str, expected: bool
) -> None:
    assert m3ter.authorized(path, headers, "s3cret", key) is expected


def test_every_header_is_compared_and_not_only_up_to_the_first_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hints.hmac.compare_digest
    monkeypatch.setattr(hints.hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    assert hints.any_same([b"right", b"wrong", b"x"], b"right")
    assert len(compared) == 3
    assert {len(each) for each in compared} == {32}


def test_an_outline_has_names_and_no_values() -> None:
    body = {"customer": {"email": "ann@acme.example", "n": [1, 2]}, "ann@acme.example": True, "none": None}
    assert hints.outline(json.dumps(body).encode()) == "{?: null, customer: {email: text, n: [number]}, none: null}"
    assert hints.outline(b"ann@acme.example") == "text"
    assert hints.outline(b"  ") == "empty"
    assert (
        len(hints.outline(json.dumps({f"n{n}": {f"m{m}": 1 for m in range(99)} for n in range(99)}).encode())) <= 2_000
    )
