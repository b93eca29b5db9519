"""The imitated Chargebee's subscriptions by their states: trials, pauses, backdating, ownership, each over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox, scenarios
from meterbridge.sandbox.clock import epoch

MARCH, APRIL, MAY, JUNE = (epoch(2026, month, 1) for month in (3, 4, 5, 6))
NOW = epoch(2026, 3, 20)
DAY = 86_400
PRO, SUPPORT = "api-pro-EUR-Monthly", "support-EUR-Monthly"
SUB = "/subscriptions/sub-single"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("single")) as running:
        running.world.advance_to(NOW)
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as client:
        yield client


def post(http: httpx.Client, path: str, **fields: Any) -> dict[str, Any]:
    answer = http.post(path, data={name: str(value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body.get("subscription", body)


def get(http: httpx.Client, name: str = "sub-single") -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/subscriptions/{name}").json()["subscription"]
    return found


def create(http: httpx.Client, name: str, **fields: Any) -> dict[str, Any]:
    item = {"subscription_items[item_price_id][0]": PRO}
    return post(http, "/customers/cust-single/subscription_for_items", id=name, **item, **fields)


def refusal(http: httpx.Client, path: str, **fields: Any) -> tuple[int, str]:
    answer = http.post(path, data={name: str(value) for name, value in fields.items()})
    return answer.status_code, answer.json()["api_error_code"]


def events(sandbox: Sandbox, name: str) -> list[str]:
    rows = sandbox.world.chargebee.events.rows()
    told = [row for row in rows if row["content"].get("subscription", {}).get("id") == name]
    return [row["event_type"].removeprefix("subscription_") for row in told]


# Trials


def test_a_trial_is_not_active_and_its_first_term_begins_at_its_end(sandbox: Sandbox, http: httpx.Client) -> None:
    made = create(http, "t", trial_end=APRIL)
    assert (made["status"], made["trial_end"], made["next_billing_at"]) == ("in_trial", APRIL, APRIL)
    assert "activated_at" not in made
    sandbox.world.advance_to(APRIL + DAY)
    row = get(http, "t")
    assert (row["status"], row["activated_at"], row["current_term_end"]) == ("active", APRIL, MAY)
    assert row["started_at"] < APRIL
    assert events(sandbox, "t") == ["created", "activated"]


def test_a_trial_is_extended_and_then_ends_later(sandbox: Sandbox, http: httpx.Client) -> None:
    create(http, "t", trial_end=APRIL)
    assert post(http, "/subscriptions/t/change_term_end", term_ends_at=MAY)["trial_end"] == MAY
    sandbox.world.advance_to(APRIL + DAY)
    assert get(http, "t")["status"] == "in_trial"
    sandbox.world.advance_to(MAY)
    assert get(http, "t")["activated_at"] == MAY
    assert events(sandbox, "t") == ["created", "trial_extended", "activated"]


def test_a_trial_that_is_to_be_cancelled_stays_in_trial_until_its_end(sandbox: Sandbox, http: httpx.Client) -> None:
    create(http, "t", trial_end=APRIL)
    row = post(http, "/subscriptions/t/cancel_for_items", end_of_term="true")
    assert (row["status"], row["cancelled_at"]) == ("in_trial", APRIL)
    assert "cancelled_at" not in post(http, "/subscriptions/t/remove_scheduled_cancellation")
    post(http, "/subscriptions/t/cancel_for_items", end_of_term="true")
    sandbox.world.advance_to(APRIL)
    row = get(http, "t")
    assert (row["status"], row["cancelled_at"]) == ("cancelled", APRIL)
    assert "activated_at" not in row


def test_a_future_start_is_moved_and_its_trial_begins_then(sandbox: Sandbox, http: httpx.Client) -> None:
    create(http, "f", start_date=APRIL, trial_end=MAY)
    assert post(http, "/subscriptions/f/update_for_items", start_date=APRIL + DAY)["start_date"] == APRIL + DAY
    sandbox.world.advance_to(APRIL + DAY)
    row = get(http, "f")
    assert (row["status"], row["started_at"], row["trial_end"]) == ("in_trial", APRIL + DAY, MAY)
    assert "start_date" not in row
    assert refusal(http, "/subscriptions/f/update_for_items", start_date=MAY)[0] == 409
    sandbox.world.advance_to(MAY)
    assert events(sandbox, "f") == ["created", "changed", "started", "activated"]


# Pauses


def test_a_pause_at_once_stops_renewals_until_it_is_resumed(sandbox: Sandbox, http: httpx.Client) -> None:
    row = post(http, f"{SUB}/pause")
    assert (row["status"], row["pause_date"]) == ("paused", NOW)
    assert "next_billing_at" not in row
    sandbox.world.advance_to(MAY + DAY)
    assert get(http)["status"] == "paused"
    row = post(http, f"{SUB}/resume")
    assert (row["status"], row["current_term_start"]) == ("active", MAY + DAY)
    assert not {"pause_date", "resume_date"} & set(row)
    assert events(sandbox, "sub-single")[-2:] == ["paused", "resumed"]


def test_resumed_within_its_term_the_term_goes_on(sandbox: Sandbox, http: httpx.Client) -> None:
    before = post(http, f"{SUB}/pause")
    sandbox.world.advance_to(NOW + DAY)
    row = post(http, f"{SUB}/resume")
    assert row["current_term_end"] == before["current_term_end"] == row["next_billing_at"]


def test_a_pause_and_its_end_are_scheduled(sandbox: Sandbox, http: httpx.Client) -> None:
    row = post(http, f"{SUB}/pause", pause_option="specific_date", pause_date=NOW + DAY, resume_date=APRIL + DAY)
    assert (row["status"], row["pause_date"]) == ("active", NOW + DAY)
    assert "resume_date" not in row
    sandbox.world.advance_to(NOW + DAY)
    assert (get(http)["status"], get(http)["resume_date"]) == ("paused", APRIL + DAY)
    sandbox.world.advance_to(APRIL + DAY)
    assert (get(http)["status"], get(http)["current_term_start"]) == ("active", APRIL + DAY)
    assert events(sandbox, "sub-single")[-3:] == ["pause_scheduled", "paused", "resumed"]


def test_a_scheduled_pause_is_taken_back_and_the_term_renews(sandbox: Sandbox, http: httpx.Client) -> None:
    post(http, f"{SUB}/pause", pause_option="end_of_term")
    assert "pause_date" not in post(http, f"{SUB}/remove_scheduled_pause")
    assert refusal(http, f"{SUB}/remove_scheduled_pause") == (409, "invalid_state_for_request")
    sandbox.world.advance_to(APRIL + DAY)
    assert (get(http)["status"], get(http)["current_term_start"]) == ("active", APRIL)


def test_a_scheduled_resumption_is_taken_back(sandbox: Sandbox, http: httpx.Client) -> None:
    post(http, f"{SUB}/pause")
    assert post(http, f"{SUB}/resume", resume_option="specific_date", resume_date=APRIL)["resume_date"] == APRIL
    assert "resume_date" not in post(http, f"{SUB}/remove_scheduled_resumption")
    sandbox.world.advance_to(MAY)
    assert get(http)["status"] == "paused"
    assert events(sandbox, "sub-single")[-2:] == ["resumption_scheduled", "scheduled_resumption_removed"]


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("resume", {}),
        ("remove_scheduled_resumption", {}),
        ("pause", {"pause_option": "specific_date", "pause_date": JUNE}),
        ("pause", {"resume_date": NOW - DAY}),
        ("reactivate", {}),
        ("update_for_items", {"trial_end": JUNE}),
        ("change_term_end", {"term_ends_at": MARCH}),
    ],
)
def test_what_does_not_fit_an_active_subscription_is_refused(
    http: httpx.Client, operation: str, fields: dict[str, Any]
) -> None:
    assert refusal(http, f"{SUB}/{operation}", **fields)[0] in (400, 409)


def test_a_paused_subscription_cannot_be_changed_but_cancelled(http: httpx.Client) -> None:
    post(http, f"{SUB}/pause")
    assert refusal(http, f"{SUB}/pause")[0] == 409
    assert refusal(http, f"{SUB}/update_for_items", **{"subscription_items[item_price_id][0]": SUPPORT})[0] == 409
    row = post(http, f"{SUB}/cancel_for_items")
    assert (row["status"], "pause_date" in row) == ("cancelled", False)


# Backdating


def test_backdated_changes_say_so_in_their_event(sandbox: Sandbox, http: httpx.Client) -> None:
    quantity = {"subscription_items[item_price_id][0]": PRO, "subscription_items[quantity][0]": 3}
    back = {"change_option": "specific_date", "changes_scheduled_at": NOW - DAY}
    row = post(http, f"{SUB}/update_for_items", **quantity, **back)
    assert row["subscription_items"][0]["quantity"] == 3
    assert "changes_scheduled_at" not in row
    told = list(sandbox.world.chargebee.events.rows())[-1]
    assert told["content"]["subscription"]["changes_scheduled_at"] == NOW - DAY
    row = post(http, f"{SUB}/cancel_for_items", cancel_option="specific_date", cancel_at=NOW - DAY // 2)
    assert (row["status"], row["cancelled_at"]) == ("cancelled", NOW - DAY // 2)
    row = post(http, f"{SUB}/reactivate", reactivate_from=NOW - 60)
    assert (row["activated_at"], row["started_at"]) == (NOW - 60, epoch(2026, 1, 1))
    created = create(http, "back", start_date=MARCH)
    assert (created["started_at"], created["current_term_end"]) == (MARCH, APRIL)
    assert events(sandbox, "sub-single")[-3:] == [
        "changed_with_backdating",
        "canceled_with_backdating",
        "reactivated_with_backdating",
    ]
    assert events(sandbox, "back") == ["created_with_backdating"]


def test_a_backdated_subscription_is_in_its_present_term(http: httpx.Client) -> None:
    row = create(http, "back", start_date=epoch(2026, 1, 10))
    assert (row["current_term_start"], row["current_term_end"]) == (epoch(2026, 3, 10), epoch(2026, 4, 10))


def test_a_change_is_not_backdated_beyond_the_term(http: httpx.Client) -> None:
    back = {"change_option": "specific_date", "changes_scheduled_at": MARCH - DAY}
    assert refusal(http, f"{SUB}/update_for_items", **{"subscription_items[item_price_id][0]": PRO}, **back)[0] == 400


# Ownership


def test_a_move_tells_of_both_sides(sandbox: Sandbox, http: httpx.Client) -> None:
    post(http, "/customers", id="heir")
    assert post(http, f"{SUB}/move", to_customer_id="heir")["customer_id"] == "heir"
    assert events(sandbox, "sub-single")[-2:] == ["moved_out", "moved_in"]


@pytest.mark.parametrize("deletes", [False, True])
def test_a_merge_gives_everything_to_the_other_and_deletes_the_first_if_told(
    sandbox: Sandbox, http: httpx.Client, deletes: bool
) -> None:
    sandbox.world.switches.merge_deletes_source = deletes
    post(http, "/customers", id="heir")
    post(http, "/customers/merge", from_customer_id="cust-single", to_customer_id="heir")
    assert get(http)["customer_id"] == "heir"
    assert http.get("/customers/cust-single").status_code == (404 if deletes else 200)
    invoices = sandbox.world.chargebee.invoices
    assert {row["customer_id"] for row in invoices.rows()} == {"heir"}
    assert refusal(http, "/customers/merge", from_customer_id="heir", to_customer_id="heir")[0] == 400


def test_an_invoice_owner_is_named_and_taken_back(http: httpx.Client) -> None:
    post(http, "/customers", id="payer")
    row = post(http, "/customers/cust-single/relationships", invoice_owner_id="payer")["customer"]
    assert row["relationship"]["invoice_owner_id"] == "payer"
    assert "relationship" not in post(http, "/customers/cust-single/delete_relationship")["customer"]
    assert refusal(http, "/customers/cust-single/relationships", invoice_owner_id="nobody")[0] == 404


# Lists that do not hold still


def pages(http: httpx.Client, **params: Any) -> list[list[str]]:
    found: list[list[str]] = []
    params |= {"limit": 10, "include_deleted": "true"}
    while True:
        page = http.get("/subscriptions", params=params).json()
        found.append([entry["subscription"]["id"] for entry in page["list"]])
        if "next_offset" not in page:
            return found
        params["offset"] = page["next_offset"]


@pytest.fixture
def many() -> Iterator[tuple[Sandbox, httpx.Client]]:
    with Sandbox(scenarios.build("large", subscriptions=35)) as running:
        running.world.advance_to(NOW)
        with httpx.Client(base_url=running.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as client:
            yield running, client


def test_pages_begin_with_the_end_of_the_page_before_when_told_so(many: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, http = many
    sandbox.world.switches.list_repeats = 2
    first, second, *_ = pages(http, **{"sort_by[asc]": "created_at"})
    assert second[:2] == first[-2:]
    assert len({name for page in pages(http) for name in page}) == 35


def test_rows_move_out_of_a_window_while_it_is_paged(many: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, http = many
    sandbox.world.switches.list_moves = 1
    window = {"updated_at[between]": f"[{MARCH},{NOW - 60}]", "sort_by[asc]": "updated_at"}
    seen = [name for page in pages(http, **window) for name in page]
    assert len(seen) == len(set(seen)) == 32


# --- Time Machine ------------------------------------------------------------------------

MACHINE = "/time_machines/delorean"
MONTH = 32 * 86_400


def test_a_site_that_starts_afresh_is_empty_and_keeps_its_catalogue(sandbox: Sandbox, http: httpx.Client) -> None:
    assert http.get(MACHINE).json()["time_machine"]["time_travel_status"] == "not_enabled"
    assert refusal(http, f"{MACHINE}/travel_forward", destination_time=9_999_999_999)[0] == 409
    post(http, f"{MACHINE}/start_afresh", genesis_time=1_700_000_000)
    assert [http.get(f"/{name}").json()["list"] for name in ("customers", "subscriptions", "invoices", "events")] == [
        []
    ] * 4
    assert http.get("/item_prices").json()["list"]
    post(http, "/customers", id="first")
    assert 0 <= http.get("/customers/first").json()["customer"]["created_at"] - 1_700_000_000 < 60


def test_what_is_due_on_the_way_happens_at_its_own_instant(sandbox: Sandbox, http: httpx.Client) -> None:
    before = sandbox.world.clock.now()
    post(http, f"{MACHINE}/start_afresh", genesis_time=before + MONTH)
    post(http, "/customers", id="first")
    wanted = {"id": "s", "subscription_items[item_price_id][0]": "api-pro-EUR-Monthly"}
    post(http, "/customers/first/subscription_for_items", **wanted)
    first = http.get("/subscriptions/s").json()["subscription"]
    there = first["current_term_end"] + 5
    reply = http.post(f"{MACHINE}/travel_forward", data={"destination_time": there}).json()["time_machine"]
    assert (reply["time_travel_status"], reply["destination_time"]) == ("succeeded", there)
    renewed = http.get("/subscriptions/s").json()["subscription"]
    assert renewed["current_term_start"] == renewed["updated_at"] == first["current_term_end"]
    answer = http.get(MACHINE)
    assert sandbox.world.clock.now() - before < 60
    assert parsedate_to_datetime(answer.headers["date"]).timestamp() - before < 60  # answers are dated in our time
    assert refusal(http, f"{MACHINE}/travel_forward", destination_time=there - 1)[0] == 400
