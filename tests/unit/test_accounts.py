"""Customers become accounts; ids, codes and lengths by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meterbridge.rules.accounts import (
    AccountPolicy,
    account_currency,
    child_code,
    child_key,
    decide_account,
    decide_child_account,
)
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    FoundAccount,
    Intent,
    KnownAccount,
    OutOfScope,
    PlanTarget,
    Quarantined,
    Ref,
    Subscription,
    SubscriptionItem,
    Unchanged,
)

POLICY = AccountPolicy("no-mail.example", "invoice_owner", False, frozenset(), frozenset())
ACME = Customer("acme", "Acme Ltd", "ap@acme.example", Address(), "EUR", None, False, 7)
TARGETS = {"api": PlanTarget("api", "api-plan", "P1", "PR1", None)}
JAN, FEB = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def case(customer=ACME, **fields):
    empty = {"subscriptions": (), "targets": TARGETS, "known_account": None, "known_plans": ()}
    empty |= {"found_accounts": (), "found_plans": (), "changed_at": {}}
    return CustomerCase(customer=customer, **(empty | fields))


def subscription(name, currency, created, status="active", item="api"):
    values = dict.fromkeys(Subscription.__dataclass_fields__)
    values |= {"id": name, "customer_id": "acme", "status": status, "currency": currency, "created_at": created}
    values |= {"items": (SubscriptionItem(item, "plan", "1", 100, "t"),), "deleted": False, "resource_version": 1}
    return Subscription(**values)


def found(account_id="A1", code="acme", currency=None, mapped=(), name="acme-autocreated"):
    return FoundAccount(account_id, code, name, currency, mapped)


def payload(customer, policy=POLICY):
    decision = decide_account(case(customer), policy, in_scope=True)
    assert isinstance(decision, Intent)
    return decision.payload, decision.warnings


def test_new_customer_is_created_with_code_name_mail_and_currency():
    decision = decide_account(case(), POLICY, in_scope=True)
    assert isinstance(decision, Intent)
    assert (decision.kind, decision.key, decision.action, decision.scope) == (
        "account",
        ("acme",),
        "create",
        "account:acme",
    )
    assert decision.payload == {
        "code": "acme",
        "name": "Acme Ltd",
        "emailAddress": "ap@acme.example",
        "currency": "EUR",
    }
    assert decision.state["currency"] == "EUR"
    assert decision.source_version == 7
    assert decision.warnings == ()


def test_reasons_name_ids_and_no_person():
    decision = decide_account(case(), POLICY, in_scope=True)
    assert isinstance(decision, Intent)
    assert "acme" in decision.reason
    assert "Acme Ltd" not in decision.reason
    assert "@" not in decision.reason


def test_equal_fingerprint_is_unchanged_and_another_one_updates():
    created = decide_account(case(), POLICY, in_scope=True)
    assert isinstance(created, Intent)
    known = KnownAccount("acme", "A1", created.fingerprint, "EUR")
    assert decide_account(case(known_account=known), POLICY, in_scope=True) == Unchanged("account", ("acme",))
    renamed = replace(ACME, name="Acme GmbH")
    update = decide_account(case(renamed, known_account=known), POLICY, in_scope=False)
    assert isinstance(update, Intent)
    assert (update.action, update.payload["id"], update.payload["name"]) == ("update", "A1", "Acme GmbH")


@pytest.mark.parametrize(
    ("accounts", "action", "account_id"),
    [
        pytest.param((found(),), "adopt", "A1", id="skeleton-of-usage-ingest"),
        pytest.param((found(mapped=("acme",)),), "adopt", "A1", id="mapped-to-this-very-customer"),
        pytest.param((found(), found("A2", "Acme")), "adopt", "A1", id="exact-beside-another-case"),
        pytest.param((found("A9", "acme~sub"),), "create", None, id="an-account-of-one-subscription-is-not-it"),
        pytest.param((found("A3", "cb_acme", mapped=("acme",)),), "adopt", "A3", id="mapped-under-a-code-of-its-own"),
        pytest.param((found("A3", "Acme", mapped=("acme",)),), "adopt", "A3", id="mapped-under-another-case"),
        pytest.param(
            (found(mapped=("b",)), found("A3", "x", mapped=("acme",))), "adopt", "A3", id="code-of-a-stranger"
        ),
    ],
)
def test_an_account_with_the_code_is_adopted(accounts, action, account_id):
    decision = decide_account(case(found_accounts=accounts), POLICY, in_scope=True)
    assert isinstance(decision, Intent)
    assert (decision.action, decision.payload.get("id")) == (action, account_id)
    assert decision.payload["name"] == "Acme Ltd"


@pytest.mark.parametrize(
    ("accounts", "named"),
    [
        pytest.param((found("A2", "Acme"),), "A2", id="only-case-differs"),
        pytest.param((found(mapped=("other",)),), "other", id="mapped-to-another-customer"),
        pytest.param((found(mapped=("acme", "other")),), "other", id="mapped-to-two"),
        pytest.param((found(), found("A3", "cb_acme", mapped=("acme",))), "A3", id="two-accounts-could-be-it"),
        pytest.param((found("A3", "x", mapped=("acme", "b")),), "b", id="mapped-to-somebody-else-as-well"),
        pytest.param((found("A3", "x", mapped=("acme",)), found("A4", "y", mapped=("acme",))), "A4", id="two-mapped"),
    ],
)
def test_a_doubtful_account_is_quarantined_with_both_ids(accounts, named):
    decision = decide_account(case(found_accounts=accounts), POLICY, in_scope=True)
    assert isinstance(decision, Quarantined)
    assert decision.code == "MB-ACCOUNT-CLASH"
    assert "acme" in decision.message
    assert named in decision.message


def test_adoption_and_creation_want_the_same_thing():
    created = decide_account(case(), POLICY, in_scope=True)
    adopted = decide_account(case(found_accounts=(found(),)), POLICY, in_scope=True)
    assert isinstance(created, Intent)
    assert isinstance(adopted, Intent)
    assert created.fingerprint == adopted.fingerprint


@pytest.mark.parametrize(
    ("policy", "in_scope", "decided"),
    [
        pytest.param(POLICY, False, False, id="nothing-in-the-catalog"),
        pytest.param(replace(POLICY, all_customers=True), False, True, id="all-customers"),
        pytest.param(replace(POLICY, accounts_only=frozenset({"b"})), True, False, id="not-among-only"),
        pytest.param(replace(POLICY, accounts_only=frozenset({"acme"})), True, True, id="among-only"),
        pytest.param(replace(POLICY, accounts_except=frozenset({"acme"})), True, False, id="excepted"),
    ],
)
def test_scope_settings(policy, in_scope, decided):
    decision = decide_account(case(), policy, in_scope=in_scope)
    assert isinstance(decision, Intent if decided else OutOfScope)


def test_deleted_customer_gets_no_account_and_keeps_the_one_it_has():
    deleted = replace(ACME, deleted=True)
    assert isinstance(decide_account(case(deleted), POLICY, in_scope=True), OutOfScope)
    known = KnownAccount("acme", "A1", "other", "EUR")
    assert decide_account(case(deleted, known_account=known), POLICY, in_scope=True) == Unchanged("account", ("acme",))


def test_customer_without_mail_and_name_gets_placeholders_and_a_warning_each():
    fields, warnings = payload(replace(ACME, id="a b ü", name=" ", email=None))
    assert fields["name"] == "a b ü"
    local, domain = fields["emailAddress"].split("@")
    assert domain == "no-mail.example"
    assert local.isascii()
    assert " " not in local
    assert len(warnings) == 2


def test_texts_are_cut_to_what_m3ter_takes():
    address = Address(line1="1" * 51, line2="2" * 50, city="c" * 101, state="s" * 50, zip="z" * 21, country="IE")
    fields, warnings = payload(replace(ACME, name="n" * 201, address=address))
    assert len(fields["name"]) == 200
    assert fields["address"] == {
        "addressLine1": "1" * 50,
        "addressLine2": "2" * 50,
        "locality": "c" * 100,
        "region": "s" * 50,
        "postCode": "z" * 20,
        "country": "IE",
    }
    assert warnings == (
        "name cut to 200 characters",
        "addressLine1 cut to 50 characters",
        "locality cut to 100 characters",
        "postCode cut to 20 characters",
    )


def test_a_name_of_exactly_200_is_not_cut():
    fields, warnings = payload(replace(ACME, name="n" * 200))
    assert len(fields["name"]) == 200
    assert warnings == ()


@pytest.mark.parametrize(
    ("hierarchy", "owner", "parent"),
    [
        pytest.param("invoice_owner", "holding", Ref("account", ("holding",)), id="owned-by-another"),
        pytest.param("invoice_owner", "acme", None, id="owned-by-itself"),
        pytest.param("invoice_owner", None, None, id="no-owner"),
        pytest.param("all_with_child_billing", "holding", Ref("account", ("holding",)), id="child-billing"),
        pytest.param("off", "holding", None, id="hierarchy-off"),
    ],
)
def test_parent_is_the_invoice_owner(hierarchy, owner, parent):
    policy = replace(POLICY, hierarchy=hierarchy)
    decision = decide_account(case(replace(ACME, invoice_owner_id=owner)), policy, in_scope=True)
    assert isinstance(decision, Intent)
    assert decision.payload.get("parentAccountId") == parent
    assert decision.depends_on == ((parent,) if parent else ())


EUR_OLD, USD_NEW = subscription("s1", "EUR", JAN), subscription("s2", "USD", FEB)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"subscriptions": (USD_NEW, EUR_OLD)}, "EUR", id="the-oldest-one-s"),
        pytest.param({"subscriptions": (USD_NEW, replace(EUR_OLD, status="cancelled"))}, "USD", id="the-living-one-s"),
        pytest.param(
            {"subscriptions": (USD_NEW, subscription("s0", "GBP", JAN, item="none"))}, "USD", id="the-mapped-one-s"
        ),
        pytest.param({"subscriptions": (replace(USD_NEW, status="cancelled"),)}, "USD", id="a-past-one-s"),
        pytest.param({}, "EUR", id="the-customer-s-preferred"),
        pytest.param(
            {"subscriptions": (USD_NEW,), "known_account": KnownAccount("acme", "A", "f", "JPY")},
            "JPY",
            id="once-fixed-it-stays",
        ),
        pytest.param(
            {"subscriptions": (USD_NEW,), "found_accounts": (found(currency="JPY"),)}, "JPY", id="adopted-it-stays"
        ),
        pytest.param(
            {"subscriptions": (USD_NEW,), "known_account": KnownAccount("acme", "A", "f", None)},
            "USD",
            id="known-without-one",
        ),
    ],
)
def test_currency_of_the_account(fields, expected):
    assert account_currency(case(**fields)) == expected


def test_without_any_currency_the_account_says_so():
    fields, warnings = payload(replace(ACME, currency=None))
    assert "currency" not in fields
    assert warnings == ("no currency is known: the organisation's will rule the account's bills",)


def test_account_of_one_subscription_stands_under_the_customer_s():
    decision = decide_child_account(case(), USD_NEW.id, USD_NEW.currency, POLICY)
    assert isinstance(decision, Intent)
    assert decision.key == ("acme~s2",)
    assert decision.payload == {
        "code": "acme~s2",
        "name": "Acme Ltd · s2",
        "emailAddress": "ap@acme.example",
        "currency": "USD",
        "parentAccountId": Ref("account", ("acme",)),
    }
    assert decision.depends_on == (Ref("account", ("acme",)),)
    known = (KnownAccount("acme~s2", "A2", decision.fingerprint, "USD"),)
    assert decide_child_account(case(known_children=known), USD_NEW.id, USD_NEW.currency, POLICY) == Unchanged(
        "account", ("acme~s2",)
    )


def test_long_ids_make_a_code_of_at_most_80_and_stay_apart():
    first, second = child_key("c" * 50, "s" * 50), child_key("c" * 50, "s" * 49 + "t")
    assert len(child_code(first)) == 80
    assert child_code(first) != child_code(second)
