"""The imitated Chargebee's rules for requests: keys, verbs, encoding, idempotency, limits; each test is one rule."""

from __future__ import annotations

import httpx

from meterbridge.sandbox import CHARGEBEE_API_KEY, CHARGEBEE_READONLY_KEY, Sandbox, scenarios
from meterbridge.sandbox.snapshot import comparable
from tests.contract.sandbox_chargebee.conftest import APRIL, CHARGE, draft_of, in_april, refused, rows


def test_wrong_key_is_401_and_read_only_key_may_not_write(sandbox: Sandbox, http: httpx.Client) -> None:
    refused(http.get("/customers", auth=("nonsense", "")), 401, "api_authentication_failed")
    refused(http.get("/customers", auth=(CHARGEBEE_API_KEY, "password")), 401, "api_authentication_failed")
    assert http.get("/customers", auth=(CHARGEBEE_READONLY_KEY, "")).status_code == 200
    answer = http.post("/customers", data={"id": "x"}, auth=(CHARGEBEE_READONLY_KEY, ""))
    refused(answer, 403, "api_authorization_failed")


def test_wrong_verb_is_405_and_json_body_is_refused(http: httpx.Client) -> None:
    refused(http.put("/customers/cust-larkspur"), 405, "http_method_not_supported")
    refused(http.post("/customers", json={"id": "x"}), 400, "invalid_request")


def test_unknown_parameter_is_refused_by_name_unless_lenient(sandbox: Sandbox, http: httpx.Client) -> None:
    body = refused(http.post("/customers", data={"id": "x", "frist_name": "Ada"}), 400, "param_wrong_value")
    assert body["param"] == "frist_name"
    assert refused(http.get("/customers", params={"status": "active"}), 400, "param_wrong_value")["param"] == "status"
    sandbox.world.switches.lenient = True
    assert http.post("/customers", data={"id": "x", "frist_name": "Ada"}).status_code == 200
    everything = rows(http.get("/subscriptions", params={"limit": 100}), "subscription")
    bare_filter = rows(http.get("/subscriptions", params={"limit": 100, "status": "active"}), "subscription")
    assert len(bare_filter) == len(everything) > 20


def test_index_of_an_array_comes_last(http: httpx.Client) -> None:
    item = {"subscription_items[item_price_id][0]": "api-pro-EUR-Monthly"}
    made = http.post("/customers/cust-larkspur/subscription_for_items", data=item | {"id": "second"})
    assert made.json()["subscription"]["subscription_items"][0]["item_price_id"] == "api-pro-EUR-Monthly"
    wrong = {"subscription_items[0][item_price_id]": "api-pro-EUR-Monthly"}
    answer = http.post("/customers/cust-larkspur/subscription_for_items", data=wrong)
    assert refused(answer, 400, "param_wrong_value")["param"] == "subscription_items[0][item_price_id]"


def test_ids_with_spaces_slashes_and_other_letters_are_found_by_encoded_path(http: httpx.Client) -> None:
    answer = http.get("/subscriptions/Abo%20St%C3%A4dte%207%2F%C3%9F")
    assert answer.json()["subscription"]["customer_id"] == "Ünïcode Städte 7"


def test_resources_carry_object_and_omit_what_is_absent(http: httpx.Client) -> None:
    entry = http.get("/subscriptions/cust-larkspur-sub").json()
    assert entry["subscription"]["object"] == "subscription"
    assert entry["customer"]["object"] == "customer"
    assert "cancelled_at" not in entry["subscription"]
    assert "null" not in http.get("/subscriptions", params={"limit": 100}).text


def test_resource_version_rises_with_each_change_even_within_one_millisecond(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    with sandbox.world.lock, sandbox.world.clock.held(APRIL * 1000):
        state = sandbox.world.chargebee
        row = state.customers.get("cust-larkspur")
        assert row is not None
        first = state.save(state.customers, row)
        second = state.save(state.customers, first)
    assert second["resource_version"] == first["resource_version"] + 1 == APRIL * 1000 + 1
    assert second["updated_at"] == APRIL


def test_second_customer_with_an_id_is_a_duplicate(http: httpx.Client) -> None:
    refused(http.post("/customers", data={"id": "cust-larkspur"}), 400, "duplicate_entry")


def test_same_key_replays_the_first_answer_for_thirty_minutes(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-larkspur')['id']}/add_charge"
    key = {"chargebee-idempotency-key": "intent-1"}
    first = http.post(path, data=CHARGE, headers=key)
    sandbox.world.advance(29 * 60)
    again = http.post(path, data=CHARGE, headers=key)
    assert again.headers["chargebee-idempotency-replayed"] == "true"
    assert again.content == first.content
    other = http.post(path, data=CHARGE | {"amount": "1"}, headers=key)
    refused(other, 422, "unable_to_process_request")
    sandbox.world.switches.update({"key_mismatch_status": 400})
    refused(http.post(path, data=CHARGE | {"amount": "1"}, headers=key), 400, "invalid_request")
    sandbox.world.advance(61)
    late = http.post(path, data=CHARGE, headers=key)
    assert "chargebee-idempotency-replayed" not in late.headers
    assert len(late.json()["invoice"]["line_items"]) == 3


def test_errors_are_replayed_unless_switched_off(sandbox: Sandbox, http: httpx.Client) -> None:
    key = {"chargebee-idempotency-key": "intent-2"}
    for _ in range(2):
        answer = http.post("/invoices/none/add_charge", data=CHARGE, headers=key)
        refused(answer, 404, "resource_not_found")
    assert answer.headers["chargebee-idempotency-replayed"] == "true"
    sandbox.world.switches.idempotency_stores_errors = False
    key = {"chargebee-idempotency-key": "intent-3"}
    for _ in range(2):
        answer = http.post("/invoices/none/add_charge", data=CHARGE, headers=key)
    assert "chargebee-idempotency-replayed" not in answer.headers


def test_rate_limit_answers_429_until_the_minute_slides(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.chargebee_per_minute = 3
    answers = [http.get("/configurations") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
    sandbox.world.advance(60)
    assert http.get("/configurations").status_code == 200


def test_date_header_shows_the_virtual_clock(sandbox: Sandbox, http: httpx.Client) -> None:
    assert http.get("/configurations").headers["date"].startswith("Tue, 17 Mar 2026 09:00")
    httpx.post(f"{sandbox.url}/_sandbox/clock", json={"advance": 86400})
    assert http.get("/configurations").headers["date"].startswith("Wed, 18 Mar 2026 09:00")


def test_equal_seeds_make_equal_worlds() -> None:
    first, second = scenarios.build("demo"), scenarios.build("demo")
    assert comparable(first) == comparable(second)
    second.chargebee.customers.put("extra", {"id": "extra"}, 0)
    assert comparable(first) != comparable(second)
