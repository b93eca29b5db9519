"""How a run ended, in words: the name, the sentence, the money."""

from typing import Any

import pytest

from meterbridge.cli.show_report import report_table
from meterbridge.rules.naming import in_words, parts_of
from meterbridge.rules.outcome import amounts, done_words
from meterbridge.rules.outcome import in_words as money_words
from tasks.advice import advice
from tasks.link import LinkReport
from tasks.report import RunReport
from tasks.report_differences import ReconcileReport
from tasks.report_page import console_address, summary
from tasks.report_shadow import ShadowReport
from tasks.undo import UndoReport

ASIDE = {
    "key": ["b", "s"],
    "kind": "charge",
    "code": "MB-NO-INVOICE",
    "message": "m",
    "amount": 5732,
    "currency": "USD",
}
FOLLOWS = {"key": ["Bill", "b"], "kind": "external_mapping", "code": "MB-DEPENDS", "message": "waits"}
TOTAL = ASIDE | {"code": "MB-BILL-TOTAL", "amount": 100}
ASKED = {"change_set": "h", "currency": "EUR", "count": 60, "amount": 585785, "bills": 26, "why": {"approval": "w"}}
WAITS = {"key": ["b", "s"], "reason": "r", "amount": 1200, "currency": "EUR", "until": None, "overdue": False}
NO_INVOICE = "1 record, 57.32 USD: there is no pending invoice to charge and none is to be expected"
MONEY: dict[str, dict[str, str]] = {"applied": {}, "proposed": {}, "waiting": {}, "set_aside": {}}


def report(kind: type[RunReport] = RunReport, **facts: Any) -> RunReport:
    return kind(flow="sync_bills", flow_run_id="r", **facts)


CHARGED = {
    "applied": {"charge.create": 56, "external_mapping.create": 85},
    "money": MONEY | {"applied": {"EUR": "5857.85", "JPY": "603"}},
}


@pytest.mark.parametrize(
    ("facts", "name", "message", "code"),
    [
        pytest.param({}, "Completed", "nothing to do", 0, id="nothing"),
        pytest.param(CHARGED, "Completed", "56 charges, 5,857.85 EUR; 603 JPY; 85 mappings created", 0, id="charged"),
        pytest.param(
            {"applied": {"charge.adopt": 1, "account.create": 1}},
            "Completed",
            "1 charge adopted, 1 account created",
            0,
            id="what is taken over moves no money",
        ),
        pytest.param(
            {"dry_run": True, "intended": {"charge.create": 1}, "money": MONEY | {"proposed": {"EUR": "3.00"}}},
            "Completed",
            "dry run, would write: 1 charge, 3.00 EUR",
            0,
            id="dry",
        ),
        pytest.param(
            {"awaiting_approval": [ASKED], "quarantined": [ASIDE]},
            "Awaiting approval",
            f"60 writes, 5,857.85 EUR · set aside: {NO_INVOICE}",
            3,
            id="asked and set aside",
        ),
        pytest.param(
            {"awaiting_approval": [ASKED]}, "Awaiting approval", "60 writes, 5,857.85 EUR", 0, id="asked alone"
        ),
        pytest.param(
            {"quarantined": [FOLLOWS, ASIDE, TOTAL, ASIDE]},
            "Set aside",
            "3 records, 115.64 USD: there is no pending invoice to charge and none is to be expected "
            "and 1 other reason; 1 more depend on them",
            3,
            id="what only follows does not name the run",
        ),
        pytest.param({"held": 2}, "Held", "2 writes in another run's hands or on hold", 3, id="held"),
        pytest.param({"waiting": [WAITS]}, "Completed", "nothing to do · waiting: 1 record, 12.00 EUR", 0, id="waits"),
        pytest.param(
            {"waiting": [WAITS | {"overdue": True}]},
            "Overdue",
            "1 record, 12.00 EUR: no invoice took it in time",
            3,
            id="overdue",
        ),
        pytest.param({"missing": 1}, "Missing", "1 record that an event named", 3, id="missing"),
    ],
)
def test_a_run_has_a_name_a_sentence_and_the_exit_code_that_goes_with_it(facts, name, message, code):
    found = report(**facts)
    assert (found.outcome.name, found.outcome.message, found.exit_code) == (name, message, code)


DRIFT = {"disagreement": "amount", "what": "charge", "key": ["b", "s"], "money": -1996, "currency": "USD"}
KNOWN = DRIFT | {"money": -5732, "wanted": "", "found": "", "why": "quarantined", "code": "", "message": ""}


@pytest.mark.parametrize(
    ("kind", "facts", "sentence", "code"),
    [
        (ReconcileReport, {}, "Completed: both sides agree", 0),
        (
            ReconcileReport,
            {"explained": [KNOWN]},
            "Completed: no difference but 1 known already, -57.32 USD",
            0,
        ),
        (
            ReconcileReport,
            {"differences": 1, "drift": [DRIFT], "explained": [KNOWN]},
            "Differences: 1 difference, -19.96 USD · 1 known already, -57.32 USD",
            3,
        ),
        (ShadowReport, {}, "Completed: 0 bills equal line by line", 0),
        (ShadowReport, {"unreadable": [{"bill_id": "b"}]}, "Differences: 1 bill of 1 differ", 3),
        (UndoReport, {"kept": [{"amount": 100, "currency": "EUR"}]}, "Set aside: 1 line not taken off, 1.00 EUR", 3),
        (LinkReport, {"refused": [{}, {}]}, "Set aside: 2 lines of the file refused", 3),
    ],
)
def test_the_other_flows_have_their_own(kind, facts, sentence, code):
    found = report(kind, **facts)
    assert (found.outcome.sentence, found.exit_code) == (sentence, code)


def test_every_write_has_words_and_money_comes_first():
    counts = {"account_plan.replace": 2, "charge.create": 1, "charge_removal.delete": 2, "external_mapping.create": 1}
    words = "1 charge, 2 lines taken off, 1,000.00 EUR; 2 account plans replaced, 1 mapping created"
    assert done_words(counts, {"EUR": "1000.00"}) == words


def test_amounts_are_summed_by_currency_in_its_own_units():
    rows = [
        {"amount": 123456, "currency": "EUR"},
        {"amount": -56, "currency": "EUR"},
        {"amount": 603, "currency": "JPY"},
        {"amount": 7, "currency": "ISK"},  # nobody knows its scale
        {"kind": "account"},
    ]
    assert amounts(rows) == {"EUR": "1234.00", "ISK": "7 minor units", "JPY": "603"}
    assert money_words(amounts(rows)) == "1,234.00 EUR; 7 minor units ISK; 603 JPY"


def test_records_are_named_by_what_people_can_open():
    assert in_words("charge", ("b", "s", "[]")) == "subscription s, bill b"
    assert in_words("account_plan", ("s", "p", "1")) == "subscription s, item price p"
    assert in_words("usage", ("csv", "file", "unknown")) == "usage csv / file / unknown"
    assert parts_of("account", ("c",)) == [("customer", "c")]
    assert console_address("acme", "customer", "a/ü") == "https://acme.chargebee.com/admin-console/customers/a%2F%C3%BC"
    assert console_address("acme", "bill", "b") == console_address("", "customer", "c") == ""


def test_the_page_says_first_how_it_ended_for_how_much_and_what_to_do():
    page = summary(report(quarantined=[FOLLOWS, ASIDE], **CHARGED), "acme")
    head, _, rest = page.partition("<details>")
    assert head.startswith("# Set aside\n\n1 record, 57.32 USD: ")
    assert "| applied | 5,857.85 | 603 |" in head
    assert "Charge it by hand and dismiss, or create a pending invoice and retry. For annual plans set " in head
    assert "57.32 USD, subscription [s](https://acme.chargebee.com/admin-console/subscriptions/s), bill `b`: m" in head
    assert head.index("MB-NO-INVOICE") < head.index("MB-DEPENDS")  # what follows by itself comes last
    assert "<td>applied charge.create</td><td>56</td>" in rest
    assert "\n\n" not in rest


REFUSED = {"key": ["c"], "kind": "account", "code": "MB-REFUSED", "message": "no such currency"}
CHAIN = [
    {
        "key": ["s", "p", "1"],
        "kind": "account_plan",
        "code": "MB-DEPENDS",
        "message": "w",
        "waits_for": ["account", "c"],
    },
    {
        "key": ["AccountPlan", "s"],
        "kind": "external_mapping",
        "code": "MB-DEPENDS",
        "message": "w",
        "waits_for": ["account_plan", "s", "p", "1"],
    },
]


def test_an_annual_customers_months_are_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    acme = [
        ASIDE | {"key": [f"b{n}", "s"], "amount": 100 * n, "message": f"m{n}", "customer_id": "acme"} for n in (1, 2, 3)
    ]
    other = ASIDE | {"key": ["b4", "t"], "customer_id": "globex"}
    changed = [row | {"code": "MB-BILL-CHANGED"} for row in acme]
    run = report(quarantined=[*acme, other, *changed])
    by_code = {one.code: one for one in advice(run)}
    assert by_code["MB-NO-INVOICE"].what.startswith("4 records, 63.32 USD: ")
    assert [(one.parts, one.money, one.message) for one in by_code["MB-NO-INVOICE"].records] == [
        ([("subscription", "t"), ("bill", "b4")], "57.32 USD", "m"),
        ([("customer", "acme")], "6.00 USD", "3 bills of 1 subscription, the largest: m3"),
    ]
    assert len(by_code["MB-BILL-CHANGED"].records) == 3
    report_table(run)
    assert "    6.00 USD, customer acme: 3 bills of 1 subscription, the largest: m3\n" in capsys.readouterr().out


def test_what_waits_for_a_refused_record_stands_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = report(quarantined=[CHAIN[1], CHAIN[0], REFUSED])
    (one,) = advice(run)
    assert (one.code, one.what[:8]) == ("MB-REFUSED", "1 record")
    assert "        - waits for it: subscription `s`, item price `p`\n" in summary(run)
    report_table(run)
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("    customer c: no such currency")
    assert sorted(lines[place + 1 : place + 3]) == [
        "      waits for it: mapping of AccountPlan s",
        "      waits for it: subscription s, item price p",
    ]
    assert "MB-DEPENDS" not in "\n".join(lines)
    assert run.outcome.message.endswith("; 2 more depend on them")


def test_what_waits_for_a_record_that_is_not_shown_is_told_by_itself() -> None:
    assert [one.code for one in advice(report(quarantined=CHAIN))] == ["MB-DEPENDS"]
    circle = [
        row | {"waits_for": [other["kind"], *other["key"]]} for row, other in zip(CHAIN, CHAIN[::-1], strict=True)
    ]
    assert [len(one.records) for one in advice(report(quarantined=circle))] == [2]


def test_warnings_are_on_the_terminal_and_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"kind": "account_plan", "key": ["s", "p", "2"], "warning": "tiers start anew"}
    run = report(warnings=[told] * 21)
    report_table(run)
    shown = capsys.readouterr().out
    assert shown.count("warning: subscription s, item price p: tiers start anew\n") == 20
    assert "1 more warnings: --json" in shown
    assert "tiers start anew" in summary(run)


def test_the_page_of_a_run_with_nothing_to_do_says_so():
    assert "## What you should do\n\nNothing." in summary(report())
