"""Which account is suggested for which customer, with what evidence; worked out by hand."""

import pytest

from meterbridge.rules.suggest import Offered, Seeker, suggestions


def seeker(name="acme", company="Acme Ltd", email="ap@acme.example", field="", currency=None):
    return Seeker(name, company, email, field, currency)


def account(code="G-1", name="Else", email="else@x.example", parent=None, currency=None):
    return Offered(f"id-{code}", code, name, email, currency, parent)


def suggested(customers, accounts, by=None, ids=()):
    pairs = suggestions(customers, accounts, by, {one.id for one in customers} | set(ids))
    return [(p.customer.id, p.account.code, p.score, p.certain) for p in pairs]


@pytest.mark.parametrize(
    ("offered", "score", "certain"),
    [
        pytest.param(account(email="AP@acme.example "), 80, True, id="e-mail"),
        pytest.param(account(name="ACME  ltd"), 70, True, id="name"),
        pytest.param(account(name="acme ltd", email="ap@acme.example"), 95, True, id="both"),
        pytest.param(account(name="Acme GmbH"), 50, False, id="name-but-for-its-legal-form"),
        pytest.param(account(code="ACME"), 60, False, id="code-but-for-case"),
        pytest.param(account(email="ap@acme.example", currency="USD"), 80, False, id="another-currency"),
    ],
)
def test_evidence_and_score(offered, score, certain):
    assert suggested([seeker(currency="EUR")], [offered]) == [("acme", offered.code, score, certain)]


def test_nothing_in_common_and_nothing_at_all_suggest_nothing():
    assert suggested([seeker()], [account()]) == []
    assert suggested([seeker(company="", email="")], [account(name="", email="")]) == []


def test_a_field_names_code_or_id_and_wins_over_looks():
    by_code, by_id = seeker("a", field="G-1"), seeker("b", company="B", email="", field="id-G-2")
    accounts = [account(), account("G-2", name="Acme Ltd")]
    assert suggested([by_code, by_id], accounts, "cf_account") == [("a", "G-1", 100, True), ("b", "G-2", 100, True)]
    shared = [seeker("a", field="G-1"), seeker("b", field="G-1")]
    assert [certain for *_, certain in suggested(shared, accounts, "cf_account")] == [False, False]


def test_rivals_on_either_side_make_a_pair_doubtful():
    two_accounts = [account(email="ap@acme.example"), account("G-2", email="ap@acme.example")]
    assert [certain for *_, certain in suggested([seeker()], two_accounts)] == [False, False]
    two_customers = [seeker(), seeker("beta", company="Beta")]
    assert [certain for *_, certain in suggested(two_customers, two_accounts[:1])] == [False, False]


def test_an_equal_code_needs_no_link_and_a_strangers_id_is_the_strangers():
    own = account("acme", email="ap@acme.example")
    assert suggested([seeker(), seeker("beta", company="Beta")], [own]) == []
    assert suggested([seeker()], [own], by="code") == [("acme", "acme", 100, True)]
    assert suggested([seeker()], [account("zeta", email="ap@acme.example")], ids=["zeta"]) == []


def test_one_way_alone_is_asked_for_by_name():
    accounts = [account(email="ap@acme.example"), account("G-2", name="Acme Ltd")]
    assert [code for _, code, *_ in suggested([seeker()], accounts, "email")] == ["G-1"]
    assert [code for _, code, *_ in suggested([seeker()], accounts, "name")] == ["G-2"]


def test_child_accounts_are_part_of_the_account_above_them():
    parent = account(email="ap@acme.example")
    child = account("G-1/eu", email="ap@acme.example", parent=parent.id)
    assert suggested([seeker()], [parent, child]) == [("acme", "G-1", 80, True)]
    better = account("G-1/us", name="Acme Ltd", email="ap@acme.example", parent=parent.id)
    assert len(suggested([seeker()], [parent, better])) == 2


def test_a_filler_on_both_sides_is_no_evidence():
    customers = [seeker(f"c{n}", company=f"C {n}", email="none@us.example") for n in range(200)]
    accounts = [account(f"G-{n}", name=f"N {n}", email="none@us.example") for n in range(200)]
    assert suggested(customers, accounts) == []
    assert len(suggested(customers[:1], accounts)) == 200
