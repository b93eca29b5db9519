"""The registry of kinds: one row each, a class for each, and the orders that the jobs rely on."""

from typing import get_args

from meterbridge.rules.decisions import Kind
from meterbridge.rules.gate import GATED
from meterbridge.rules.kinds import KINDS_OF_WRITE, MONEY, Wave, kinds_of, waves
from tasks.deliver import WRITES


def test_every_kind_has_one_row_and_one_class():
    names = [one.kind for one in KINDS_OF_WRITE]
    assert sorted(names) == sorted(get_args(Kind))
    assert set(names) == set(WRITES)


def test_money_is_what_the_gate_asks_about():
    assert {*GATED} == {*MONEY} == {"charge", "charge_set", "charge_removal", "credit"}
    assert all(one.target == "chargebee" for one in KINDS_OF_WRITE if one.moves_money)


def test_jobs_go_out_in_the_order_in_which_they_build_on_each_other():
    assert kinds_of("subscriptions") == ("account", "account_plan", "external_mapping")
    assert waves("bills") == (
        Wave("m3ter", "external_mapping", "netted:"),
        Wave("chargebee", "charge_removal"),
        Wave("chargebee", "credit"),
        Wave("chargebee", "charge"),
        Wave("chargebee", "charge_set"),
        Wave("m3ter", "external_mapping"),
    )
    assert [one.kind for one in waves("undo")] == ["charge_removal", "external_mapping"]
    assert kinds_of("usage") == ("usage_removal", "usage")
