"""Whatever happens to subscriptions: m3ter never meets an overlap, and a second look finds nothing to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from meterbridge.rules.account_plans import PlanPolicy, decide_customer
from meterbridge.rules.accounts import AccountPolicy
from meterbridge.rules.intervals import overlap
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    Intent,
    Interval,
    KnownAccount,
    KnownPlan,
    PlanTarget,
    Quarantined,
    Ref,
    Subscription,
    SubscriptionItem,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNTS = AccountPolicy("no-mail.example", "invoice_owner", False, frozenset(), frozenset())
ACME = Customer("acme", "Acme", None, Address(), "EUR", None, False, 1)
TARGETS = {
    "a": PlanTarget("a", "a", "PLAN-A", "PROD-1", "EUR"),
    "b": PlanTarget("b", "b", "PLAN-B", "PROD-1", "EUR"),
    "c": PlanTarget("c", "c", "PLAN-C", "PROD-2", None),
}


def day(number):
    return START + timedelta(days=number)


@st.composite
def subscriptions(draw, name, today):
    """One subscription as of day ``today``, its instants in any order that its status allows."""
    status = draw(
        st.sampled_from(["future", "in_trial", "active", "non_renewing", "cancelled", "paused", "transferred"])
    )
    begin = draw(st.integers(0, 40))
    past = st.integers(0, today)
    names = draw(st.sets(st.sampled_from(["a", "b", "c", "unmapped"]), min_size=1))
    quantity = draw(st.sampled_from(["1", "2"]))
    return Subscription(
        id=name,
        customer_id="acme",
        status=status,
        currency=draw(st.sampled_from(["EUR", "EUR", "EUR", "USD"])),
        items=tuple(SubscriptionItem(item, "plan", quantity, 100, quantity) for item in sorted(names)),
        billing_period=1,
        billing_period_unit="month",
        created_at=day(draw(st.integers(0, 3))),
        start_date=day(begin),
        trial_end=draw(st.none() | st.integers(0, 60).map(day)) if status != "in_trial" else day(begin + 14),
        started_at=None if status == "future" else day(begin),
        activated_at=draw(st.none() | past.map(day)),
        current_term_start=draw(st.none() | past.map(day)),
        current_term_end=day(today + 10),
        next_billing_at=None,
        cancelled_at=day(draw(st.integers(0, 90))) if status in ("non_renewing", "cancelled") else None,
        pause_date=day(draw(past)) if status == "paused" else None,
        resume_date=draw(st.none() | st.integers(0, 90).map(day)),
        updated_at=draw(st.none() | past.map(day)),
        deleted=draw(st.sampled_from([False, False, False, True])),
        resource_version=today,
    )


@st.composite
def histories(draw):
    """Up to three looks at up to three subscriptions, and the settings in force."""
    looks = []
    for today in (30, 50, 70)[: draw(st.integers(1, 3))]:
        names = draw(st.lists(st.sampled_from(["s1", "s2", "s3"]), unique=True, max_size=3))
        looks.append((today, tuple(draw(subscriptions(name, today)) for name in names)))
    policy = PlanPolicy(
        trial=draw(st.sampled_from(["free", "billed"])),
        replace_on=draw(st.sampled_from(["mapped_plan", "material", "any_change"])),
        on_product_overlap=draw(st.sampled_from(["quarantine", "child_account"])),
        allow_overlapping_plans=False,
        hierarchy="invoice_owner",
        now=START,
    )
    return looks, policy


class M3ter:
    """What stands at m3ter and in the ledger when every intent is applied as it comes."""

    def __init__(self):
        self.accounts = {}
        self.plans = {}
        self.mappings = set()

    def case(self, subs):
        children = tuple(account for key, account in self.accounts.items() if key != ("acme",))
        return CustomerCase(
            customer=ACME,
            subscriptions=subs,
            targets=TARGETS,
            known_account=self.accounts.get(("acme",)),
            known_plans=tuple(self.plans.values()),
            found_accounts=(),
            found_plans=(),
            changed_at={},
            known_mappings=frozenset(self.mappings),
            known_children=children,
        )

    def apply(self, intent):
        applied = {("account", *key) for key in self.accounts} | {("account_plan", *key) for key in self.plans}
        assert all((ref.kind, *ref.key) in applied or ref in self.gone for ref in intent.depends_on), intent
        getattr(self, intent.kind)(intent)

    def account(self, intent):
        identity = intent.payload.get("id", "/".join(intent.key))
        self.accounts[intent.key] = KnownAccount(
            intent.key[0], identity, intent.fingerprint, intent.payload.get("currency")
        )

    def account_plan(self, intent):
        if intent.action == "delete":
            del self.plans[intent.key]
            self.gone.add(Ref("account_plan", intent.key))
            return
        state = {name: value for name, value in intent.state.items() if name != "replaces"}
        state["items"] = tuple(state["items"])
        account = state["account_id"]
        state["account_id"] = (
            account if isinstance(account, str) else self.accounts[tuple(account["$ref"][1:])].account_id
        )
        state["start"] = datetime.fromisoformat(state["start"])
        state["end"] = None if state["end"] is None else datetime.fromisoformat(state["end"])
        for key in intent.state.get("replaces", ()):
            old = self.plans.pop(tuple(key))
            if old.start < state["start"]:
                self.plans[tuple(key)] = replace(old, end=state["start"])
        if intent.action == "create":
            assert intent.key not in self.plans
        identity = intent.payload["id"] if intent.action == "update" else "/".join(intent.key)
        self.plans[intent.key] = KnownPlan(account_plan_id=identity, **state)
        self.check()

    def external_mapping(self, intent):
        if intent.action == "delete":
            self.mappings.remove(intent.key)
        else:
            self.mappings.add(intent.key)

    def check(self):
        """m3ter's own rules: no empty interval, no overlap of a product on an account."""
        plans = list(self.plans.values())
        for index, one in enumerate(plans):
            assert one.end is None or one.start < one.end
            for other in plans[:index]:
                if (one.account_id, one.product_id) == (other.account_id, other.product_id):
                    assert not overlap(Interval(one.start, one.end), Interval(other.start, other.end)), (one, other)

    gone: set

    def run(self, subs, policy):
        self.gone = set()
        decisions = decide_customer(self.case(subs), ACCOUNTS, policy)
        intents = [one for one in decisions if isinstance(one, Intent)]
        assert len({(one.kind, one.key) for one in intents}) == len(intents)
        for intent in intents:
            self.apply(intent)
        return decisions


@given(histories())
def test_applied_in_order_nothing_overlaps_and_a_second_look_writes_nothing(history):
    looks, policy = history
    m3ter = M3ter()
    for today, subs in looks:
        at = replace(policy, now=day(today))
        first = m3ter.run(subs, at)
        second = m3ter.run(subs, at)
        assert [one for one in second if isinstance(one, Intent)] == []
        set_aside = {one.key for one in first if isinstance(one, Quarantined)}
        assert {one.key for one in second if isinstance(one, Quarantined)} == set_aside


@given(histories())
def test_the_order_of_reading_does_not_matter(history):
    looks, policy = history
    today, subs = looks[0]
    at = replace(policy, now=day(today))
    forward, backward = M3ter(), M3ter()
    forward.run(subs, at)
    backward.run(subs[::-1], at)
    assert forward.plans == backward.plans


def test_an_item_that_was_over_before_the_leaving_one_began_is_not_written_over_it():
    """A trial's plan began on day 14; later the record shows another item, cancelled on day 1."""
    dates = dict.fromkeys(("activated_at", "current_term_start", "next_billing_at", "pause_date", "resume_date"))
    same = {"customer_id": "acme", "currency": "EUR", "billing_period": 1, "billing_period_unit": "month", **dates}
    same |= {"id": "s", "created_at": day(0), "start_date": day(0), "started_at": day(0), "deleted": False}
    items = {
        name: (SubscriptionItem(item_price_id=name, item_type="plan", quantity="1", unit_price=100, terms="1"),)
        for name in ("a", "b")
    }
    trial = Subscription(
        status="in_trial", items=items["a"], trial_end=day(14), cancelled_at=None, current_term_end=day(60),
        updated_at=None, resource_version=50, **same,
    )  # fmt: skip
    ended = Subscription(
        status="non_renewing", items=items["b"], trial_end=None, cancelled_at=day(1), current_term_end=day(80),
        updated_at=day(0), resource_version=70, **same,
    )  # fmt: skip
    policy = PlanPolicy(
        trial="free", replace_on="mapped_plan", on_product_overlap="quarantine", allow_overlapping_plans=False,
        hierarchy="invoice_owner", now=START,
    )  # fmt: skip
    m3ter = M3ter()
    for today, subscription in ((50, trial), (70, ended)):
        m3ter.run((subscription,), replace(policy, now=day(today)))
    assert [(one.start, one.end) for one in m3ter.plans.values()] == [(day(14), None), (day(0), day(1))]
