"""The commands that look: what they tell after whole runs, how they end, and that none of them starts Prefect."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.main import app
from meterbridge.errors import SetupError
from meterbridge.sandbox import CHARGEBEE_READONLY_KEY, Sandbox
from meterbridge.sandbox.scenarios.month import use_and_bill


@pytest.fixture(scope="module")
def demo(open_shared_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """The demonstration's world after both syncs; the tests leave the vendors as they are."""
    sandbox = open_shared_sandbox("demo")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    sync_bills.fn()
    return sandbox


def call(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def told(*words: str) -> Any:
    """The one JSON object that the command prints."""
    return json.loads(call(*words, "--json").stdout)


def checks(verdict: str) -> dict[str, str]:
    return {one["check"]: one["words"] for one in told("doctor")["checks"] if one["verdict"] == verdict}


def pending_line(sandbox: Sandbox, customer_id: str, entity_type: str) -> tuple[dict[str, Any], dict[str, Any]]:
    invoices = sandbox.world.chargebee.invoices.rows()
    draft = next(row for row in invoices if row["customer_id"] == customer_id and row["status"] == "pending")
    return draft, next(line for line in draft["line_items"] if line["entity_type"] == entity_type)


# --- doctor ---------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_with_the_sandbox(demo):
    result = call("doctor", "--json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["failures"]) == (0, 0)
    passed = checks("ok")
    assert passed["product catalog"] == "version 2.0"
    assert passed["metered billing"].startswith("on: invoice ")
    assert passed["mapping names"] == "Bill, BillLineItem, Invoice, InvoiceLineItem"


def test_doctor_warns_of_an_item_price_whose_plan_has_another_currency(demo):
    assert "api-pro-GBP-Monthly is in GBP, plan api-pro-eur in EUR" in checks("warning")["currencies"]


def test_doctor_changes_nothing_at_either_vendor(demo):
    world = demo.world
    before = ([dict(row) for row in world.chargebee.invoices.rows()], len(world.m3ter.mappings))

    call("doctor")

    assert before == ([dict(row) for row in world.chargebee.invoices.rows()], len(world.m3ter.mappings))


@pytest.mark.parametrize(
    ("variables", "check", "said"),
    [
        pytest.param({"CHARGEBEE_API_KEY": "test_wrong"}, "chargebee credentials", "MB-CREDENTIALS", id="wrong-key"),
        pytest.param({"CHARGEBEE_API_KEY": CHARGEBEE_READONLY_KEY}, "chargebee rights", "403", id="read-only-key"),
        pytest.param({"M3TER_API_SECRET": "wrong"}, "m3ter credentials", "MB-CREDENTIALS", id="wrong-secret"),
        pytest.param({"METERBRIDGE_CATALOG": "nowhere.yaml"}, "catalog", "MB-CATALOG", id="missing-catalog"),
        pytest.param({"METERBRIDGE_DELIVER_THREADS": "many"}, "settings", "MB-SETTING", id="wrong-setting"),
        pytest.param({"METERBRIDGE_LEDGER_URL": "mysql://x"}, "ledger", "MB-SETTING", id="unknown-database"),
    ],
)
def test_doctor_names_what_is_wrong_and_ends_with_two(demo, monkeypatch, variables, check, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    result = call("doctor", "--json")

    failures = {one["check"]: one for one in json.loads(result.stdout)["checks"] if one["verdict"] == "failure"}
    assert result.exit_code == 2
    assert said in failures[check]["words"]
    assert failures[check]["remedy"]


@pytest.mark.parametrize(
    ("switch", "value", "check"),
    [
        pytest.param("product_catalog_version", "v1", "product catalog", id="old-catalog-version"),
        pytest.param("mapping_entities", ["Account"], "mapping names", id="account-plans-cannot-be-mapped"),
    ],
)
def test_doctor_fails_a_site_that_cannot_be_served(demo, switch, value, check):
    switches = demo.world.switches
    before = getattr(switches, switch)
    switches.update({switch: value})
    try:
        failed = checks("failure")
    finally:
        switches.update({switch: before})
    assert check in failed


@pytest.mark.parametrize("flow", [sync_subscriptions, sync_bills])
def test_a_sync_stops_before_it_writes_to_a_site_of_another_catalog_version(demo, flow):
    demo.world.switches.update({"product_catalog_version": "v1"})
    demo.world.log.clear()
    try:
        with pytest.raises(SetupError, match="Product Catalog v1") as stopped:
            flow.fn()
    finally:
        demo.world.switches.update({"product_catalog_version": "v2"})
    assert stopped.value.code == "MB-SITE"
    assert {(one.method, one.path) for one in demo.world.log if one.method != "GET"} <= {("POST", "/oauth/token")}


def test_doctor_fails_ids_that_neither_side_has(demo, monkeypatch, tmp_path):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "plans: [{item_price: no-such-price, plan: api-pro-eur}, {item_price: api-pro-EUR-Monthly, plan: no-plan}]\n"
        "charges: [{item_price: api-pro-EUR-Monthly, product: no-product}]\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("METERBRIDGE_CATALOG", str(catalog))

    found = {(one["verdict"], one["words"]) for one in told("doctor")["checks"] if one["check"] == "catalog ids"}

    assert found == {
        ("failure", "Chargebee has no item price 'no-such-price'"),
        ("failure", "m3ter has no plan 'no-plan'"),
        ("failure", "item price api-pro-EUR-Monthly is of type plan, not charge"),
        ("warning", "m3ter has no product 'no-product': that row never matches"),
    }


def test_doctor_fails_an_enabled_native_integration(demo):
    state = demo.world.m3ter
    row = {"id": "5c0e8a1c", "name": "Native", "destination": "Chargebee", "entityType": "Bill", "enabled": True}
    saved = state.save(state.integration_configs, row, None)
    try:
        failed = checks("failure")
    finally:
        state.integration_configs.remove(saved["id"], demo.world.clock.now_ms())
    assert "MB-NATIVE: enabled: Native" in failed["native integration"]


# --- status ---------------------------------------------------------------------------------


def test_status_tells_quarantined_money_and_ends_with_three(demo):
    result = call("status", "--json")

    found = json.loads(result.stdout)
    money = next(row for row in found["quarantined"] if row["code"] == "MB-NO-INVOICE")
    assert (result.exit_code, money["records"], money["currency"]) == (3, 1, "USD")
    assert found["open_intents"] == {}
    assert {row["flow"] for row in found["runs"]} == {"sync_bills", "sync_subscriptions"}
    lag = next(row["lag_seconds"] for row in found["watermarks"] if row["flow"] == "sync_bills")
    assert 300 <= lag < 3600


def test_status_of_an_empty_ledger_ends_with_zero(open_sandbox):
    open_sandbox("empty")

    result = call("status", "--json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["runs"], found["waiting"]) == (0, [], [])


# --- trace ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity_type", "exact", "charged"),
    [
        pytest.param("charge_item_price", "10.335", 1034, id="the-line-that-lost-most-gets-the-unit"),
        pytest.param("adhoc", "20.335", 2033, id="the-other-one-does-not"),
    ],
)
def test_trace_of_an_invoice_line_tells_amounts_before_and_after_rounding(demo, entity_type, exact, charged):
    draft, line = pending_line(demo, "cust-fractions", entity_type)

    found = told("trace", line["id"])

    (charge,) = found["charges"]
    assert found["what"] == "Chargebee invoice line"
    assert (charge["exact_amount"], charge["amount"], charge["currency"]) == (exact, charged, "EUR")
    assert (charge["invoice_id"], charge["subscription_id"]) == (draft["id"], "cust-fractions-sub")
    assert charge["run"]["flow"] == "sync_bills"
    assert found["account_plans"][0]["item_price_id"] == "api-pro-EUR-Monthly"


def test_trace_leads_from_every_id_of_the_chain_to_the_same_charges(demo):
    draft, line = pending_line(demo, "cust-fractions", "adhoc")
    found = told("trace", line["id"])
    charge = found["charges"][0]
    ids = {
        "Chargebee invoice": draft["id"],
        "m3ter bill": charge["bill_id"],
        "m3ter bill line": charge["bill_line_ids"][0],
        "Chargebee subscription": "cust-fractions-sub",
        "m3ter account plan": found["account_plans"][0]["account_plan_id"],
    }

    chains = {what: told("trace", named) for what, named in ids.items()}

    assert {what: chain["what"] for what, chain in chains.items()} == {what: what for what in ids}
    for chain in chains.values():
        assert line["id"] in {one["invoice_line_id"] for one in chain["charges"]}


def test_trace_of_money_that_was_set_aside_says_so(demo):
    found = told("trace", "cust-yearly-sub")

    assert found["charges"] == []
    assert [portion["state"] for portion in found["portions"]] == ["quarantined"]
    assert "MB-NO-INVOICE" in call("quarantine", "list").stdout


def test_trace_of_an_unknown_id_says_what_was_looked_for(demo):
    with pytest.raises(SetupError, match="knows no invoice line, invoice, bill"):
        call("trace", "nobody")


# --- quarantine -----------------------------------------------------------------------------


def record(code: str) -> dict[str, Any]:
    return next(row for row in told("quarantine", "list")["quarantined"] if row["code"] == code)


def test_a_record_set_aside_is_shown_with_its_remedy(demo):
    row = record("MB-PLAN-CURRENCY")

    shown = told("quarantine", "show", str(row["id"]))

    assert shown["key"] == ["cust-pounds-sub", "api-pro-GBP-Monthly", "1"]
    assert shown["remedy"] == "Map the item price to a plan of its currency."
    assert "What to do" in call("quarantine", "show", str(row["id"])).stdout


def test_dismissed_money_is_settled_until_somebody_retries_it(demo):
    row = record("MB-NO-INVOICE")
    number = str(row["id"])

    done = told("quarantine", "dismiss", number, "--by", "Ada", "--note", "invoiced by hand")
    assert (done["settled"], done["currency"]) == (row["amount"], "USD")
    assert told("trace", "cust-yearly-sub")["portions"][0]["state"] == "settled"
    assert number not in {str(one["id"]) for one in told("quarantine", "list")["quarantined"]}
    (closed,) = told("quarantine", "list", "--state", "dismissed")["quarantined"]
    assert (closed["closed_by"], closed["note"]) == ("Ada", "invoiced by hand")

    assert told("quarantine", "retry", number) == {"retry": [row["id"]]}
    assert told("trace", "cust-yearly-sub")["portions"][0]["state"] == "quarantined"


def test_retry_of_one_code_leaves_the_others_alone(demo):
    overlapping = record("MB-PLAN-OVERLAP")

    assert told("quarantine", "retry", "--all", "--code", "MB-PLAN-OVERLAP") == {"retry": [overlapping["id"]]}

    assert record("MB-PLAN-OVERLAP")["state"] == "retry"
    assert record("MB-PLAN-CURRENCY")["state"] == "open"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["retry"], id="retry-of-nothing"),
        pytest.param(["retry", "1", "--all"], id="both-a-number-and-all"),
        pytest.param(["retry", "--all", "--code", "MB-NOPE"], id="unknown-code"),
        pytest.param(["show", "4711"], id="unknown-number"),
        pytest.param(["list", "--state", "lost"], id="unknown-state"),
        pytest.param(["dismiss", "1", "--by", " ", "--note", "x"], id="dismissed-by-nobody"),
    ],
)
def test_a_quarantine_command_that_cannot_work_is_refused(demo, words):
    with pytest.raises(SetupError) as refused:
        call("quarantine", *words)
    assert refused.value.code == "MB-COMMAND"


# --- all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["doctor"], ["status"], ["trace", "cust-yearly-sub"], ["quarantine", "list"]])
def test_commands_that_look_never_import_prefect(demo, words):
    program = (
        "import sys; from meterbridge.cli.main import main; sys.argv[0] = 'meterbridge'\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code in (0, 3), end.code\n"
        "print('prefect' in sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=dict(os.environ), timeout=120
    )
    assert run.stderr.splitlines()[-1] == "False", run.stderr


def test_no_command_shows_a_customers_e_mail_or_a_secret(demo):
    world = demo.world
    private = {row["email"] for row in world.chargebee.customers.rows() if row.get("email")}
    private |= {os.environ["CHARGEBEE_API_KEY"], os.environ["M3TER_API_SECRET"]}
    line = pending_line(demo, "cust-fractions", "adhoc")[1]

    shown = [call(*words).stdout for words in (["doctor"], ["status"], ["trace", line["id"]], ["quarantine", "list"])]

    assert not [one for one in private for text in shown if one in text]
