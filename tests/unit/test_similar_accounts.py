"""An account of nobody that looks like a customer's: set aside, adopted or passed over, by setting; by hand."""

from dataclasses import replace

import pytest

from meterbridge.rules.accounts import decide_account
from meterbridge.rules.foreign_edits import account_edited
from meterbridge.rules.records import Intent, KnownAccount, Quarantined, Unchanged
from meterbridge.rules.similar import SimilarAccount, digest, is_skeleton, plain_name, same_text
from tests.unit.test_accounts import ACME, FEB, POLICY, case, found, subscription

ADOPT = replace(POLICY, on_similar_account="adopt")
CREATE = replace(POLICY, on_similar_account="create")
GLOBEX = SimilarAccount("A7", "G-1", None, None, ("e-mail",), ("acme",))


def decide(*similar, policy=POLICY, **fields):
    return decide_account(case(similar=similar, **fields), policy, in_scope=True)


def test_a_customer_that_an_account_looks_like_is_set_aside_by_ids_and_evidence():
    decision = decide(GLOBEX)
    assert isinstance(decision, Quarantined)
    assert (decision.kind, decision.key, decision.code) == ("account", ("acme",), "MB-ACCOUNT-TWIN")
    assert decision.message == (
        "customer acme has no account of its own, and account A7 (code 'G-1') has the same e-mail"
    )
    assert ACME.email not in decision.message
    assert ACME.name not in decision.message


def test_with_create_nobody_looks_and_a_mapping_or_a_code_decides_before_looks():
    created = decide(GLOBEX, policy=CREATE)
    assert isinstance(created, Intent)
    assert (created.action, created.payload["code"]) == ("create", "acme")
    own = decide(GLOBEX, found_accounts=(found(name="Acme"),))
    assert isinstance(own, Intent)
    assert own.payload["id"] == "A1"
    known = KnownAccount("acme", "A1", created.fingerprint, "EUR")
    assert decide(GLOBEX, known_account=known) == Unchanged("account", ("acme",))


@pytest.mark.parametrize("policy", [POLICY, ADOPT])
def test_a_skeleton_that_usage_made_is_no_account_to_settle_with(policy):
    skeleton = found(name="acme-autocreated")
    decision = decide(GLOBEX, found_accounts=(skeleton,), policy=policy)
    assert isinstance(decision, Quarantined)
    assert "only account A1, a skeleton" in decision.message
    for settled in (decide(found_accounts=(skeleton,)), decide(GLOBEX, found_accounts=(skeleton,), policy=CREATE)):
        assert isinstance(settled, Intent)
        assert settled.payload["id"] == "A1"


def test_with_adopt_the_one_account_is_taken_over_under_its_own_code():
    decision = decide(GLOBEX, policy=ADOPT)
    assert isinstance(decision, Intent)
    assert (decision.action, decision.payload["id"], decision.payload["code"]) == ("adopt", "A7", "G-1")
    assert decision.payload["name"] == "Acme Ltd"
    assert decision.state["code"] == "G-1"
    assert "e-mail" in decision.reason
    assert "@" not in decision.reason


@pytest.mark.parametrize(
    ("similar", "named"),
    [
        pytest.param((GLOBEX, replace(GLOBEX, id="A8", code="G-2")), ("A7", "A8"), id="two-accounts"),
        pytest.param((replace(GLOBEX, customers=("acme", "beta")),), ("A7", "beta"), id="two-customers"),
        pytest.param((replace(GLOBEX, currency="USD"),), ("A7", "USD"), id="another-currency"),
    ],
)
def test_with_adopt_what_is_not_certain_is_set_aside(similar, named):
    decision = decide(*similar, policy=ADOPT)
    assert isinstance(decision, Quarantined)
    assert decision.code == "MB-ACCOUNT-TWIN"
    assert all(word in decision.message for word in named)


def test_the_currency_that_counts_is_the_subscriptions():
    euros = replace(GLOBEX, currency="EUR")
    dollars = subscription("s1", "USD", FEB)
    assert isinstance(decide(euros, policy=ADOPT, subscriptions=(dollars,)), Quarantined)
    assert isinstance(decide(euros, policy=ADOPT), Intent)


def test_child_accounts_are_part_of_the_account_above_them():
    child = replace(GLOBEX, id="A8", code="G-1/eu", parent_id="A7")
    adopted = decide(GLOBEX, child, policy=ADOPT)
    assert isinstance(adopted, Intent)
    assert adopted.payload["id"] == "A7"
    better = replace(child, evidence=("e-mail", "name"))
    assert isinstance(decide(GLOBEX, better, policy=ADOPT), Quarantined)
    assert isinstance(decide(replace(child, parent_id="elsewhere"), policy=ADOPT), Intent)


def test_only_so_many_accounts_and_customers_are_named():
    many = [replace(GLOBEX, id=f"A{n}", customers=tuple(f"c{m:02}" for m in range(30))) for n in range(10, 40)]
    message = decide(*many).message
    assert "A14" in message
    assert "A15" not in message
    assert "25 more accounts" in message
    assert "25 more" in message.partition("customer c00")[2]


def test_an_account_keeps_the_code_it_had():
    mapped = found("A3", "cb-77", mapped=("acme",))
    adopted = decide(found_accounts=(mapped,))
    assert isinstance(adopted, Intent)
    assert (adopted.action, adopted.payload["code"], adopted.state["code"]) == ("adopt", "cb-77", "cb-77")
    known = KnownAccount("acme", "A3", adopted.fingerprint, "EUR", code="cb-77")
    assert decide(known_account=known) == Unchanged("account", ("acme",))
    renamed = decide_account(case(replace(ACME, name="Acme SE"), known_account=known), POLICY, in_scope=True)
    assert isinstance(renamed, Intent)
    assert (renamed.action, renamed.payload["code"], renamed.payload["name"]) == ("update", "cb-77", "Acme SE")


def test_a_code_of_its_own_is_no_edit_by_hand_but_another_one_is():
    known = KnownAccount("acme", "A3", "f", "EUR", code="cb-77")
    unchanged = Unchanged("account", ("acme",))
    as_left = case(known_account=known, found_accounts=(found("A3", "cb-77", "EUR", name="Acme Ltd"),))
    assert account_edited(as_left, unchanged, "Acme Ltd") is None
    changed = replace(as_left, found_accounts=(found("A3", "acme", "EUR", name="Acme Ltd"),))
    assert "code" in str(account_edited(changed, unchanged, "Acme Ltd"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Acme Ltd", "ACME  LTD ", id="case-and-space"),
        pytest.param("Städte", "Sta\u0308dte", id="composed"),
        pytest.param("ＡＣＭＥ", "acme", id="full-width"),
        pytest.param("Straße 7", "STRASSE 7", id="sharp-s"),
        pytest.param("Acme\u200b\u00a0Ltd", "acme ltd", id="invisible"),
        pytest.param("ﬁnance@acme.example", "Finance@Acme.Example", id="ligature"),
    ],
)
def test_texts_that_count_as_the_same(one, other):
    assert same_text(one) == same_text(other)
    assert digest(one) == digest(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Acme Ltd", "Acme GmbH", id="two-companies-of-a-group"),
        pytest.param("ap@acme.example", "ap+1@acme.example", id="another-mailbox"),
        pytest.param("東京", "京東", id="order"),
    ],
)
def test_texts_that_do_not(one, other):
    assert digest(one) != digest(other)


def test_nothing_is_not_the_same_as_nothing():
    assert [digest(text) for text in (None, "", "  ", "\u200b")] == [None] * 4


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Acme GmbH", "acme"),
        ("Acme, Inc.", "acme"),
        ("Acme S.r.l.", "acme"),
        ("株式会社東京メーター", "東京メーター"),
        ("東京メーター(株)", "東京メーター"),
        ("The Co", "the"),
        ("AG", "ag"),
    ],
)
def test_a_plain_name_has_no_legal_form_unless_it_is_all_there_is(name, plain):
    assert plain_name(name) == plain


def test_a_skeleton_is_told_by_its_name():
    assert is_skeleton("G-1", "G-1-autocreated")
    assert not is_skeleton("G-1", "G-2-autocreated")
    assert not is_skeleton("G-1", None)
