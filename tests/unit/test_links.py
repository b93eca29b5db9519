"""What a person's file of links may ask for, line by line; worked out by hand."""

from dataclasses import replace

import pytest

from meterbridge.rules.links import AccountFacts, CustomerFacts, LinkFacts, LinkLine, judge, link_intents

ACME = CustomerFacts("acme", False, currencies=frozenset({"EUR"}))
BETA = CustomerFacts("beta", False)
A1 = AccountFacts("A1", "G-1", "EUR")
A2 = AccountFacts("A2", "G-2", None)
FACTS = LinkFacts({"acme": ACME, "beta": BETA}, {"A1": A1, "A2": A2}, {"G-1": "A1", "G-2": "A2"})
PLAN = ("acme-sub", "api", "1")


def line(customer="acme", account="A1", code="", number=2):
    return LinkLine(number, customer, account, code)


def refusal(*lines, facts=FACTS, remove=False):
    return [one.refusal for one in judge(lines, facts, remove=remove)]


def facts(customer=ACME, account=A1, **more):
    return replace(
        FACTS, customers={**FACTS.customers, customer.id: customer}, accounts={"A1": account, "A2": A2}, **more
    )


def test_a_line_is_linked_by_id_or_by_code_and_counts_once():
    judged = judge([line(), line(account="", code="G-1", number=3), line("beta", "", "G-2", 4)], FACTS)
    assert [(one.line.number, one.account and one.account.id, one.refusal) for one in judged] == [
        (2, "A1", ""),
        (4, "A2", ""),
    ]
    first, second = link_intents(judged, FACTS, remove=False)
    assert (first.kind, first.key, first.action, first.scope) == (
        "external_mapping",
        ("Account", "acme"),
        "create",
        "account:acme",
    )
    assert first.payload == {
        "m3terEntity": "Account",
        "m3terId": "A1",
        "externalSystem": "Chargebee",
        "externalTable": "Customer",
        "externalId": "acme",
    }
    assert first.state == {"customer_id": "acme", "points_at": "A1"}
    assert second.payload["m3terId"] == "A2"


@pytest.mark.parametrize(
    ("customer", "account", "more", "words"),
    [
        pytest.param(replace(ACME, deleted=True), A1, {}, "acme is deleted", id="deleted"),
        pytest.param(replace(ACME, accounts=frozenset({"A9"})), A1, {}, "linked to account A9", id="linked-elsewhere"),
        pytest.param(ACME, replace(A1, customers=frozenset({"zeta"})), {}, "customer zeta", id="somebody-elses"),
        pytest.param(ACME, replace(A1, currency="USD"), {}, "pays in EUR", id="another-currency"),
        pytest.param(ACME, A1, {"by_code": {"G-1": "A1", "acme": "A7"}}, "account A7", id="another-has-its-id-as-code"),
        pytest.param(ACME, A1, {"id_codes": {"G-1"}}, "another customer", id="code-is-a-strangers-id"),
        pytest.param(ACME, A1, {"busy": {"acme"}}, "under way", id="a-write-is-under-way"),
        pytest.param(
            replace(ACME, accounts=frozenset({"A1", "A9"})), A1, {}, "linked to account A9", id="linked-to-two"
        ),
    ],
)
def test_a_contradiction_is_refused_by_what_it_contradicts(customer, account, more, words):
    (why,) = refusal(line(), facts=facts(customer, account, **more))
    assert words in why


def test_unknown_ids_and_a_code_that_is_not_the_accounts_are_refused():
    assert "Chargebee has no customer 'zeta'" in refusal(line("zeta"))[0]
    assert "m3ter has no account 'A9'" in refusal(line(account="A9"))[0]
    assert "m3ter has no account 'G-9'" in refusal(line(account="", code="G-9"))[0]
    assert "has the code 'G-1', not 'G-2'" in refusal(line(code="G-2"))[0]


def test_what_the_file_says_twice_differently_is_refused_on_both_lines():
    assert all("several accounts" in why for why in refusal(line(), line(account="A2")))
    assert all("several customers" in why for why in refusal(line(), line("beta")))


def test_a_pair_that_stands_asks_for_nothing():
    standing = facts(replace(ACME, accounts=frozenset({"A1"})), replace(A1, customers=frozenset({"acme"})))
    (judged,) = judge([line()], standing)
    assert (judged.standing, judged.refusal) == (True, "")
    assert list(link_intents([judged], standing, remove=False)) == []


def test_apart_again_go_the_mappings_of_the_account_and_of_its_plans():
    standing = facts(replace(ACME, accounts=frozenset({"A1"})), plans={"acme": ((PLAN, "AP1"),)})
    judged = judge([line()], standing, remove=True)
    plan, account = link_intents(judged, standing, remove=True)
    assert (plan.action, plan.key, plan.payload["m3terId"]) == ("delete", ("AccountPlan", "acme-sub-api", "1"), "AP1")
    assert (account.action, account.key, account.payload["m3terId"]) == ("delete", ("Account", "acme"), "A1")
    assert plan.depends_on == account.depends_on == ()


def test_taken_apart_is_only_what_stands_so_and_has_no_accounts_of_ours_below():
    elsewhere = facts(replace(ACME, accounts=frozenset({"A9"})))
    assert "linked to account A9" in refusal(line(), facts=elsewhere, remove=True)[0]
    above = facts(replace(ACME, accounts=frozenset({"A1"})), with_children={"acme"})
    assert "below" in refusal(line(), facts=above, remove=True)[0]
    (judged,) = judge([line()], FACTS, remove=True)
    assert (judged.standing, judged.refusal) == (True, "")
