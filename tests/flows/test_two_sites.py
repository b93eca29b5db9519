"""Two Chargebee sites in one m3ter organisation, with a customer id in common: nobody's usage is anybody else's."""

import os
from contextlib import contextmanager

import pytest

from flows.rebuild_ledger import rebuild_ledger
from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.vendor_checks import connected, m3ter_checks
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.accounts import ACCOUNT
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings, use_environment
from tests.connected import environment
from tests.flows.billed_month import OURS, lose_ledger
from tests.flows.test_billing_periods import OLDER, forget_epochs

CUSTOMER = "cust-single"


class Sites:
    """A site ``us`` and a site ``eu`` of equal customers, each with a ledger of its own."""

    def __init__(self, homes, **more):
        self.worlds = {"us": build("single"), "eu": build("single")}
        self.worlds["eu"].m3ter = self.worlds["us"].m3ter
        self.sandboxes = {name: Sandbox(world) for name, world in self.worlds.items()}
        self.homes, self.more = homes, more

    @property
    def m3ter(self):
        return self.worlds["us"].m3ter

    @contextmanager
    def at(self, name, **more):
        """The settings of one site's connection inside the block."""
        home = self.homes / name
        home.mkdir(exist_ok=True)
        given = {"CHARGEBEE_SITE": name, "METERBRIDGE_CONNECTION": name, **self.more, **more}
        use_environment(environment(self.sandboxes[name], home, **given))
        yield

    def sync(self, name, full=False, **more):
        with self.at(name, **more):
            return sync_subscriptions.fn(full=full)

    def accounts(self):
        return {row["code"]: row for row in self.m3ter.accounts.rows() if row["code"].endswith(CUSTOMER)}

    def mapped(self, entity):
        return sorted(row["externalId"] for row in self.m3ter.mappings.rows() if row["m3terEntity"] == entity)


@pytest.fixture
def sites(tmp_path):
    before, sites = dict(os.environ), Sites(tmp_path)
    with sites.sandboxes["us"], sites.sandboxes["eu"]:
        yield sites
    os.environ.clear()
    os.environ.update(before)


IN_IDS = {"METERBRIDGE_SITE_IN_IDS": "true"}


def test_an_account_carries_its_site(sites):
    sites.sync("us")
    assert sites.accounts()[CUSTOMER]["customFields"] == {"chargebee_site": "us"}
    assert (sites.sync("us", full=True).writes, sites.sync("us").writes) == (0, 0)


@pytest.mark.parametrize("full", [False, True])
def test_the_other_sites_account_is_never_taken(sites, full):
    sites.sync("us")
    before, mapped = sites.accounts(), sites.mapped("Account")
    report = sites.sync("eu", full)
    told = [row for row in report.quarantined if row["kind"] == "account"]
    assert [row["code"] for row in told] == ["MB-ACCOUNT-CLASH"]
    assert "site us" in told[0]["message"]
    assert "METERBRIDGE_SITE_IN_IDS" in told[0]["message"]
    assert (report.writes, sites.accounts(), sites.mapped("Account")) == (0, before, mapped)


def test_with_the_site_in_its_ids_each_has_an_account_of_its_own(sites):
    sites.sync("us")
    before = sites.accounts()[CUSTOMER]
    report = sites.sync("eu", **IN_IDS)
    assert report.quarantined == []
    accounts = sites.accounts()
    assert (sorted(accounts), accounts[CUSTOMER]) == ([CUSTOMER, f"eu:{CUSTOMER}"], before)
    assert accounts[f"eu:{CUSTOMER}"]["customFields"] == {"chargebee_site": "eu"}
    assert sites.mapped("Account") == [CUSTOMER, f"eu:{CUSTOMER}"]
    assert sum(one.startswith("eu:") for one in sites.mapped("AccountPlan")) == len(sites.mapped("AccountPlan")) / 2
    assert (sites.sync("eu", full=True, **IN_IDS).writes, sites.sync("us", full=True).writes) == (0, 0)
    with sites.at("eu", **IN_IDS):
        assert reconcile.fn().differences == 0


def test_a_lost_ledger_finds_its_own_again(sites):
    sites.sync("us")
    sites.sync("eu", **IN_IDS)
    accounts, mapped = sites.accounts(), sites.mapped("AccountPlan")
    for name, more in (("eu", IN_IDS), ("us", {})):
        with sites.at(name, **more):
            lose_ledger()
            report = sync_subscriptions.fn()
        assert (report.quarantined, sites.mapped("AccountPlan")) == ([], mapped)
        assert {code: row["id"] for code, row in sites.accounts().items()} == {
            code: row["id"] for code, row in accounts.items()
        }


@pytest.mark.parametrize("rebuilt", [False, True])
def test_our_account_plans_behind_a_site_are_known_as_ours(sites, rebuilt):
    """A billing epoch that does not follow is ours to correct, and nobody's own period; so after a rebuild."""
    sites.sync("eu", **IN_IDS)
    with sites.at("eu", **IN_IDS):
        if rebuilt:
            lose_ledger()
            rebuild_ledger.fn()
        forget_epochs(sites.sandboxes["eu"], "2026-03-24")
        report = sync_subscriptions.fn(full=True)
        assert (report.writes, report.notes) == (0, [OLDER])
        assert sync_subscriptions.fn(full=True, repair=True).applied == {"account_plan.update": 1}


def test_each_charges_its_own_bills_and_counts_the_others(sites):
    sites.sync("us")
    sites.sync("eu", **IN_IDS)
    sites.worlds["eu"].advance_to(sites.worlds["us"].clock.now())
    use_and_bill(sites.worlds["us"])
    sites.worlds["eu"].advance_to(sites.worlds["us"].clock.now())
    totals = {row["accountCode"]: int(row["billTotal"] * 100) for row in sites.m3ter.bills.rows()}
    assert set(totals) == {CUSTOMER, f"eu:{CUSTOMER}"}
    for name, more, own in (("us", {}, CUSTOMER), ("eu", IN_IDS, f"eu:{CUSTOMER}")):
        [theirs] = [amount for account, amount in totals.items() if account != own]
        for writes in (True, False):
            with sites.at(name, **more):
                report = sync_bills.fn()
            assert (report.writes > 0, report.quarantined) == (writes, [])
            assert report.not_ours == [{"currency": "EUR", "count": 1, "amount": theirs}]
        lines = [line for row in sites.worlds[name].chargebee.invoices.rows() for line in row["line_items"]]
        charged = sum(line["amount"] for line in lines if line["entity_type"] in OURS)
        assert charged == totals[own] > 0


def test_what_people_keep_on_an_account_stays(sites):
    row = {"code": CUSTOMER, "name": "by hand", "emailAddress": "a@example.com", "customFields": {"tier": "gold"}}
    with sites.worlds["us"].lock:
        account = entities.insert(sites.m3ter, ACCOUNT, row)
        sites.m3ter.account_ids_by_folded_code[CUSTOMER] = account["id"]
    assert sites.sync("us").quarantined == []
    assert sites.accounts()[CUSTOMER]["customFields"] == {"tier": "gold", "chargebee_site": "us"}


def test_an_older_account_is_not_written_for_its_site_alone(sites):
    sites.sync("us")
    state = sites.m3ter
    with sites.worlds["us"].lock:
        before = sites.accounts()[CUSTOMER]
        state.save(state.accounts, {name: v for name, v in before.items() if name != "customFields"}, before)
    assert sites.sync("us", full=True).writes == 0
    rename(sites.worlds["us"])
    assert sites.sync("us").writes == 1
    assert sites.accounts()[CUSTOMER]["customFields"] == {"chargebee_site": "us"}


def rename(world):
    state = world.chargebee
    with world.lock:
        world.clock.advance(60)
        customer = state.customers.get(CUSTOMER)
        state.save(state.customers, customer | {"company": "Another Name Ltd"})


def test_no_write_reaches_an_account_that_another_site_has_taken_meanwhile(sites):
    sites.sync("us")
    state = sites.m3ter
    with sites.worlds["us"].lock:
        before = sites.accounts()[CUSTOMER]
        state.save(state.accounts, before | {"customFields": {"chargebee_site": "eu"}}, before)
    rename(sites.worlds["us"])
    report = sites.sync("us")
    assert [row["code"] for row in report.quarantined if row["kind"] == "account"] == ["MB-ACCOUNT-CLASH"]
    assert sites.accounts()[CUSTOMER]["name"] == before["name"]


def test_doctor_says_that_an_organisation_serves_another_site(sites):
    sites.sync("us")
    for name, verdict in (("us", "ok"), ("eu", "warning")):
        with sites.at(name), connected(load_settings()) as clients:
            [found] = [one for one in m3ter_checks(clients, load_settings()) if one.check == "other sites"]
        assert found.verdict == verdict
    assert "us" in found.words
