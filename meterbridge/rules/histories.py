"""What happened between two runs, change by change: decided as if somebody had looked after each one.

Account plans depend on when one looks only where nobody kept what was there
before. Events did: each shows its subscription as it was then. The same rule is
asked about each version in turn, on what it would have left behind the time before,
and the writes are merged into those that lead there at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.accounts import AccountPolicy, account_currency, decide_account, mapped_subscriptions
from meterbridge.rules.keys import key_text
from meterbridge.rules.merged_plans import MergedPlans
from meterbridge.rules.plan_intents import plan_mapping_key
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.records import (
    CustomerCase,
    Decision,
    Intent,
    Key,
    KnownAccount,
    KnownEpoch,
    KnownPlan,
    OutOfScope,
    PlanTarget,
    Quarantined,
    Ref,
    Subscription,
    Unchanged,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A subscription as an event showed it; ``changed_at`` is when its change took effect, if it was one of terms."""

    subscription: Subscription
    at: datetime
    changed_at: datetime | None = None


def decide_through(
    case: CustomerCase, moments: Sequence[Moment], accounts: AccountPolicy, plans: PlanPolicy
) -> list[Decision]:
    """Decide one customer, its subscriptions' earlier versions first.

    Args:
        case: As it is now.
        moments: Earlier versions in order of time, none older than what the ledger applied.
        accounts: The settings.
        plans: The settings, and the run's clock.
    """
    plans = plans.not_before(case.known_plans)
    known = {plan.account_plan_id for plan in case.known_plans}
    strangers = any(found.id not in known for found in case.found_plans)
    mapped = any(item.item_price_id in case.targets for moment in moments for item in moment.subscription.items)
    if not moments or strangers or not (mapped or case.known_plans):
        return decide_customer(case, accounts, plans)
    in_scope = mapped or bool(case.known_plans) or any(True for _ in mapped_subscriptions(case))
    first = decide_account(case, accounts, in_scope=in_scope)
    if isinstance(first, Quarantined | OutOfScope):
        return decide_customer(case, accounts, plans)
    tale = Tale(case, accounts, plans, first)
    for moment in moments:
        tale.tell(moment)
    return tale.end()


@dataclass(slots=True)
class Tale:
    """One customer's history under way: what the rule would have left so far, and the writes that lead there.

    ``names`` are stand-ins for ids that m3ter has still to give; ``dropped`` was to start and had no time at all.
    """

    case: CustomerCase
    accounts: AccountPolicy
    plans: PlanPolicy
    first: Decision
    known: dict[Key, KnownPlan] = field(default_factory=dict)
    merged: MergedPlans = field(default_factory=lambda: MergedPlans({}))
    children: dict[str, KnownAccount] = field(default_factory=dict)
    made: dict[Key, Intent] = field(default_factory=dict)
    gone: dict[Key, Intent] = field(default_factory=dict)
    elsewhere: dict[Key, Intent] = field(default_factory=dict)
    names: dict[str, Ref] = field(default_factory=dict)
    dropped: set[Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        for plan in self.case.known_plans:
            self.known[plan.subscription_id, plan.item_price_id, str(plan.period)] = plan
        self.merged.real = dict(self.known)
        self.children = {child.customer_id: child for child in self.case.known_children}
        if isinstance(self.first, Intent) and self.first.action != "update":
            self.made[self.first.key] = self.first

    def tell(self, moment: Moment) -> None:
        """Let the rule decide about one earlier version."""
        as_of = self._as_of(moment)
        if as_of is None:
            return
        plans = replace(self.plans, now=min(self.plans.now, moment.at))
        for decision in decide_customer(as_of, self.accounts, plans):
            self._take(decision)
            if (
                isinstance(decision, Intent)
                and decision.key[0] == "AccountPlan"
                and as_of.customer != self.case.customer
            ):
                self.elsewhere[decision.key] = decision  # what was made for the former owner is mapped, too

    def end(self) -> list[Decision]:
        """Decide about what is there now; then all writes, merged, in the order in which they can be sent."""
        known = self._account() if self.case.known_account is None else self.case.known_account
        present = self._case(replace(self.case, known_account=known))
        rest = [one for one in decide_customer(present, self.accounts, self.plans) if not self._take(one)]
        written = self.merged.finished(self.plans.now)
        pairs = {one.key[:2] for one in written}
        others = [one for one in rest if not (isinstance(one, Unchanged | OutOfScope) and one.key[:2] in pairs)]
        accounts = [self.made.get(one.key, one) for one in others if one.kind == "account"]
        unmade = {plan_mapping_key(key) for key in self.dropped - self.known.keys()}
        mappings = [self._mapping(one) for one in others if one.kind == "external_mapping" and one.key not in unmade]
        verdicts = [one for one in others if one.kind not in ("account", "external_mapping")]
        removed = [one for key, one in self.gone.items() if key not in {mapping.key for mapping in mappings}]
        fresh = {plan_mapping_key(key) for key in self.merged.fresh}
        mappings += [one for key, one in self.elsewhere.items() if key in fresh and one.action == "create"]
        decisions = [*accounts, *written, *verdicts, *mappings, *removed]
        applied = {Ref(one.kind, one.key) for one in decisions if isinstance(one, Intent)}
        return [self._real(one, applied) for one in decisions]

    def _case(self, case: CustomerCase) -> CustomerCase:
        mapped = self.case.known_mappings - self.gone.keys()
        children = tuple(self.children.values())
        return replace(case, known_plans=tuple(self.known.values()), known_children=children, known_mappings=mapped)

    def _as_of(self, moment: Moment) -> CustomerCase | None:
        """The case at that time; None where the subscription belonged to somebody of whom nothing is known."""
        subscription = moment.subscription
        changed = {} if moment.changed_at is None else {subscription.id: moment.changed_at}
        targets = {**self.case.targets, **self._targets_of(subscription, moment.at)}
        case = replace(self.case, subscriptions=(subscription,), changed_at=changed, targets=targets)
        if subscription.customer_id == self.case.customer.id:
            return self._case(replace(case, known_account=self._account()))
        owner = subscription.customer_id
        account = next((plan.account_id for plan in self.known.values() if plan.customer_id == owner), None)
        if account is None:
            return None
        customer = replace(case.customer, id=owner, invoice_owner_id=None, deleted=False)
        known = KnownAccount(owner, account, "", subscription.currency)
        return self._case(replace(case, customer=customer, known_account=known, found_accounts=()))

    def _targets_of(self, subscription: Subscription, at: datetime) -> dict[str, PlanTarget]:
        """What the catalog must have said when it was last obeyed: that it says something else counts from now."""
        plans = sorted(self.known.values(), key=lambda plan: (plan.start, plan.period))
        return {
            plan.item_price_id: PlanTarget(plan.item_price_id, plan.plan_id, plan.plan_id, plan.product_id, None)
            for plan in plans
            if plan.subscription_id == subscription.id and (plan.end is None or plan.end > at)
        }

    def _account(self) -> KnownAccount:
        """The customer's account as if it were there."""
        if self.case.known_account is not None:
            return self.case.known_account
        customer = self.case.customer.id
        key = (customer,)
        made = self.made[key]
        account_id = made.payload.get("id") or self._name(Ref("account", key))
        currency = made.state.get("currency") or account_currency(self.case)
        return KnownAccount(customer, account_id, "", currency, code=made.payload["code"])

    def _name(self, ref: Ref) -> str:
        name = f"~{ref.kind} {key_text(ref.key)}"
        self.names[name] = ref
        return name

    def _take(self, decision: Decision) -> bool:
        """Keep what changes account plans; False where the decision is of no consequence for the next one."""
        match decision:
            case Intent(kind="account_plan"):
                self._write(decision)
            case Quarantined(kind="account_plan") if decision.key in self.merged.fresh:
                self.merged.drop(decision.key)
                self._forget(decision.key)
                return False
            case Quarantined(kind="account_plan", due=datetime() as due) if decision.key in self.known:
                self.known[decision.key] = replace(self.known[decision.key], due=due, due_by=decision.source_version)
                return False  # if the last version still says so it is set aside
            case Unchanged(kind="account_plan") if decision.key in self.known:
                # Wanted again as it stands: that it should have ended before no longer counts.
                self.known[decision.key] = replace(self.known[decision.key], due=None, due_by=None)
                return False
            case Intent(kind="external_mapping", action="delete") if decision.key in self.case.known_mappings:
                self.gone[decision.key] = decision
            case Intent(kind="account", action="create" | "adopt") if decision.key != (self.case.customer.id,):
                self._add_child(decision)
                return False
            case _:
                return False
        return True

    def _add_child(self, intent: Intent) -> None:
        self.made.setdefault(intent.key, intent)
        account_id = intent.payload.get("id") or self._name(Ref("account", intent.key))
        self.children[intent.key[0]] = KnownAccount(intent.key[0], account_id, "", intent.state.get("currency"))

    def _write(self, intent: Intent) -> None:
        fresh = intent.key in self.merged.fresh
        ids = {plan.account_plan_id: key for key, plan in self.known.items()}
        before = ids.get(intent.payload.get("id", ""))
        self.merged.take(intent, before)
        if intent.action == "delete":
            if fresh:
                self._forget(intent.key)
            else:
                del self.known[intent.key]
            return
        known = KnownEpoch() if before is None or intent.action == "replace" else self.known[before].epoch
        if before is not None and intent.action == "replace":
            self.known[before] = replace(self.known[before], end=datetime.fromisoformat(intent.payload["startDate"]))
        elif before is not None and before != intent.key:
            del self.known[before]
        same = self.known.get(intent.key)
        written = intent.payload["id"] if intent.action in ("update", "adopt") else None
        remote = same.account_plan_id if same else written or self._name(Ref("account_plan", intent.key))
        unwritten = intent.key in self.merged.fresh
        plan = replace(self._known_plan(intent, remote), epoch=_epoch_after(intent, known), unwritten=unwritten)
        self.known[intent.key] = plan

    def _forget(self, key: Key) -> None:
        """Drop an account plan that was to start and never does: it gets no mapping, unless it comes again."""
        del self.known[key]
        self.dropped.add(key)
        self.elsewhere.pop(plan_mapping_key(key), None)

    def _known_plan(self, intent: Intent, account_plan_id: str) -> KnownPlan:
        state, account = intent.state, intent.state["account_id"]
        return KnownPlan(
            subscription_id=state["subscription_id"],
            item_price_id=state["item_price_id"],
            period=state["period"],
            account_plan_id=account_plan_id,
            account_id=account if isinstance(account, str) else self._name(Ref("account", tuple(account["$ref"][1:]))),
            customer_id=state["customer_id"],
            plan_id=state["plan_id"],
            product_id=state["product_id"],
            start=datetime.fromisoformat(state["start"]),
            end=None if state["end"] is None else datetime.fromisoformat(state["end"]),
            terms=state["terms"],
            items=tuple(state["items"]),
            paused=state["paused"],
        )

    def _mapping(self, decision: Decision) -> Decision:
        """A mapping that goes and comes again is pointed to the new thing."""
        if isinstance(decision, Intent) and decision.action == "create" and decision.key in self.gone:
            return replace(decision, action="update")
        return decision

    def _real(self, decision: Decision, applied: set[Ref]) -> Decision:
        """References in place of stand-ins, and no waiting for what is not written."""
        if not isinstance(decision, Intent):
            return decision
        found: list[Ref] = []
        payload = {name: self._resolved(value, found) for name, value in decision.payload.items()}
        account = decision.state.get("account_id")
        state = dict(decision.state)
        if isinstance(account, str) and account in self.names:
            ref = self.names[account]
            state["account_id"] = {"$ref": [ref.kind, *ref.key]}
        needed = [ref for ref in (*decision.depends_on, *found) if ref in applied]
        return replace(decision, payload=payload, state=state, depends_on=tuple(dict.fromkeys(needed)))

    def _resolved(self, value: Any, found: list[Ref]) -> Any:
        if isinstance(value, str) and value in self.names:
            found.append(self.names[value])
            return self.names[value]
        return value


def _epoch_after(intent: Intent, before: KnownEpoch) -> KnownEpoch:
    """The billing epoch that an account plan would have by the write, as if m3ter had taken it."""
    if "billEpoch" not in intent.payload:
        return before
    day = date.fromisoformat(intent.payload["billEpoch"])
    return replace(before, stands=day, left=day, asked=None, seen=True)
