"""One Chargebee customer → everything it needs at m3ter: account, account plans, mappings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from meterbridge.rules.accounts import (
    AccountPolicy,
    child_key,
    decide_account,
    decide_child_account,
    excluded,
    mapped_subscriptions,
    subscription_of_child,
)
from meterbridge.rules.intervals import instant_text
from meterbridge.rules.plan_epochs import set_epochs
from meterbridge.rules.plan_found import Pair
from meterbridge.rules.plan_intents import (
    account_mapping_key,
    in_order,
    mapping_decision,
    mapping_removal,
    plan_intent,
    plan_mapping_key,
)
from meterbridge.rules.plan_overlap import Occupancy, grows, refused
from meterbridge.rules.plan_pairs import subscription_steps
from meterbridge.rules.plan_policy import PlanPolicy, plan_terms
from meterbridge.rules.plan_steps import Standing, Step, kept
from meterbridge.rules.plan_views import Sorter, Wishes
from meterbridge.rules.records import (
    CustomerCase,
    Decision,
    Intent,
    Key,
    OutOfScope,
    Quarantined,
    Ref,
    Subscription,
    Unchanged,
)

__all__ = ["PlanPolicy", "decide_customer", "plan_terms"]


def decide_customer(case: CustomerCase, accounts: AccountPolicy, plans: PlanPolicy) -> list[Decision]:
    """Decide one customer: accounts, account plans and external mappings, in the order in which they can be sent.

    Among the account plans of a product those that end or shorten come before those that start.
    """
    in_scope = any(True for _ in mapped_subscriptions(case)) or bool(case.known_plans)
    account = decide_account(case, accounts, in_scope=in_scope)
    if isinstance(account, Quarantined) or (isinstance(account, OutOfScope) and not _goes_on(case, accounts)):
        return [account, *_without_account(case, account)]
    account_id = None if case.known_account is None else case.known_account.account_id
    if isinstance(account, Intent):
        account_id = account.payload.get("id")
    sorter = Sorter(case, plans, account_id)
    wishes = sorter.sort()
    drawn = _draw(sorter, wishes)
    own = [account, *_children(case, drawn.steps, accounts)]
    pending = _pending(own)
    intents = [plan_intent(step, plans, pending) for step in in_order(drawn.steps)]
    mappings = [*_account_mappings(case, own, account_id), *_plan_mappings(case, wishes, drawn.steps)]
    return [*own, *intents, *drawn.verdicts, *_unchanged(wishes, drawn), *mappings]


def _goes_on(case: CustomerCase, accounts: AccountPolicy) -> bool:
    """A deleted customer's account plans still have to end, those of an excluded one stay as they are."""
    return bool(case.known_plans) and excluded(case.customer.id, accounts) is None


def _without_account(case: CustomerCase, account: Quarantined | OutOfScope) -> Iterator[Decision]:
    """The same verdict for each subscription item, or that it waits for its account."""
    for subscription in case.subscriptions:
        for item in subscription.items:
            key = (subscription.id, item.item_price_id, "1")
            if item.item_price_id not in case.targets:
                reason = f"item price {item.item_price_id} is not in the catalog"
                yield OutOfScope("account_plan", key, reason)
            elif isinstance(account, OutOfScope):
                yield OutOfScope("account_plan", key, account.reason)
            else:
                message = f"subscription {subscription.id} waits for the account of customer {case.customer.id}"
                version = subscription.resource_version
                foundation = Ref("account", account.key)
                yield Quarantined(
                    "account_plan", key, "MB-DEPENDS", message, source_version=version, waits_for=foundation
                )


@dataclass(slots=True)
class Drawn:
    """The steps that may be taken, and what was decided about the rest."""

    steps: list[Step]
    verdicts: list[Decision] = field(default_factory=list)


def _draw(sorter: Sorter, wishes: Wishes) -> Drawn:
    outcomes = [*wishes.steps, *(o for views in wishes.views for o in subscription_steps(views))]
    drawn = Drawn([o for o in outcomes if isinstance(o, Step)], [*wishes.verdicts])
    drawn.verdicts += [o for o in outcomes if isinstance(o, Quarantined)]
    if not sorter.policy.allow_overlapping_plans:
        _keep_apart(sorter, wishes, drawn)
    drawn.steps = _adopted(wishes, drawn)
    settled = frozenset(verdict.key for verdict in drawn.verdicts)
    drawn.steps, left = set_epochs(drawn.steps, settled, wishes, sorter.policy)
    drawn.verdicts += [*left, *_never_started(wishes, drawn)]
    return drawn


def _keep_apart(sorter: Sorter, wishes: Wishes, drawn: Drawn) -> None:
    """Let the older subscription have its product; each refusal gives room back, so look again after one."""
    while True:
        occupancy = Occupancy()
        occupancy.stand((one for plans in wishes.stock.standing.values() for one in plans), wishes.stock.foreign)
        for step in drawn.steps:
            occupancy.free(step)
        again = False
        for index, step in enumerate(drawn.steps):
            rival = occupancy.rival(step) if grows(step) else None
            if rival is None:
                drawn.steps[index] = occupancy.take(step) if grows(step) else step
                continue
            again = True
            child = sorter.child_place(step.subscription)
            movable = sorter.policy.on_product_overlap == "child_account" and step.action == "create"
            if movable and step.place.key != child.key:
                drawn.steps[index] = replace(step, place=child)
            else:
                drawn.verdicts.append(refused(step, rival))
                drawn.steps = _without(drawn.steps, step)
            break
        if not again:
            return


def _without(steps: list[Step], refused_step: Step) -> list[Step]:
    """All other steps; nobody waits for the refused one any more."""
    others = [step for step in steps if step is not refused_step]
    return [replace(step, after=tuple(ref for ref in step.after if ref != refused_step.ref)) for step in others]


def _adopted(wishes: Wishes, drawn: Drawn) -> list[Step]:
    """Take over what was found: alone, or together with what has to change about it."""
    steps: list[Step] = []
    settled = {verdict.key for verdict in drawn.verdicts}
    written = {step.key for step in drawn.steps}
    for step in drawn.steps:
        before = step.before
        if before is not None and before.found is not None and step.action == "update" and not step.renamed:
            steps.append(replace(step, action="adopt"))
        elif before is not None and before.found is not None and step.action == "replace":
            taken = _adoption(before, step.subscription)
            steps += [taken, replace(step, after=(*step.after, taken.ref))]
            written.add(taken.key)
        else:
            steps.append(step)
    renamed = {step.before.key for step in drawn.steps if step.before is not None and step.renamed}
    for subscription, standing in _found(wishes):
        if standing.key not in written | settled | renamed:
            steps.append(_adoption(standing, subscription))
    return steps


def _found(wishes: Wishes) -> Iterator[tuple[Subscription, Standing]]:
    for views in wishes.views:
        for view in views:
            for standing in view.standing:
                if standing.found is not None:
                    yield view.subscription, standing


def _adoption(standing: Standing, subscription: Subscription) -> Step:
    plan = standing.plan
    named = f"subscription {plan.subscription_id}, {plan.item_price_id}"
    reason = f"account plan {plan.account_plan_id} stands for {named} already, from {instant_text(plan.start)}"
    return replace(kept(subscription, standing, reason), action="adopt")


def _never_started(wishes: Wishes, drawn: Drawn) -> Iterator[Decision]:
    """Items that want nothing and have nothing: cancelled before they began, or deleted before the first sync."""
    written = {step.key[:2] for step in drawn.steps} | {verdict.key[:2] for verdict in drawn.verdicts}
    for views in wishes.views:
        for view in views:
            pair = (view.subscription.id, view.item_price_id)
            if view.wish is not None and not view.standing and pair not in written:
                reason = f"subscription {pair[0]} has no time to meter"
                yield OutOfScope("account_plan", (*pair, "1"), reason)


def _children(case: CustomerCase, steps: Iterable[Step], accounts: AccountPolicy) -> Iterator[Decision]:
    """The accounts under the customer's that the steps, or what stands, need."""
    used = {step.place.key for step in steps if step.whole}
    held = {plan.account_id for plan in case.known_plans}
    for subscription in case.subscriptions:
        child = child_key(case.customer.id, subscription.id)
        known = any((one.customer_id,) == child and one.account_id in held for one in case.known_children)
        if child in used or known:
            yield decide_child_account(case, subscription.id, subscription.currency, accounts)
    # A customer that changed alone comes without its subscriptions: its accounts carry its name all the same.
    read = {child_key(case.customer.id, subscription.id) for subscription in case.subscriptions}
    for one in case.known_children:
        if (one.customer_id,) not in read and one.account_id in held:
            subscription_id = subscription_of_child(case.customer.id, one.customer_id)
            yield decide_child_account(case, subscription_id, one.currency, accounts)


def _pending(accounts: Iterable[Decision]) -> frozenset[Ref]:
    created = (one for one in accounts if isinstance(one, Intent) and one.action in ("create", "adopt"))
    return frozenset(Ref(one.kind, one.key) for one in created)


def _unchanged(wishes: Wishes, drawn: Drawn) -> Iterator[Decision]:
    touched = {step.key[:2] for step in drawn.steps} | {verdict.key[:2] for verdict in drawn.verdicts}
    touched |= {step.before.key[:2] for step in drawn.steps if step.before is not None}
    for view in (view for views in wishes.views for view in views):
        if view.standing and view.standing[-1].key[:2] not in touched:
            yield Unchanged("account_plan", view.standing[-1].key)


def _account_mappings(case: CustomerCase, accounts: Iterable[Decision], account_id: str | None) -> Iterator[Decision]:
    pending = _pending(accounts)
    for one in accounts:
        if isinstance(one, OutOfScope):
            continue
        ref = Ref("account", one.key)
        known = {child.customer_id: child.account_id for child in case.known_children}
        m3ter_id = account_id if one.key == (case.customer.id,) else known.get(one.key[0])
        if isinstance(one, Intent):
            m3ter_id = one.payload.get("id", m3ter_id)
        yield mapping_decision(
            account_mapping_key(one.key),
            m3ter_id or ref,
            scope=f"account:{case.customer.id}",
            known=case.known_mappings,
            found=any(one.key[0] in found.mapped_customer_ids for found in case.found_accounts),
            pending=pending,
            of=ref,
        )


def _plan_mappings(case: CustomerCase, wishes: Wishes, steps: list[Step]) -> Iterator[Decision]:
    """A mapping for everything that stands afterwards, none for what is gone."""
    scope = f"account:{case.customer.id}"
    gone: dict[Key, Step] = {}
    for step in steps:
        if step.before is not None and (step.action == "delete" or step.renamed):
            gone[step.before.key] = step
    pending = frozenset(step.ref for step in steps if step.action != "delete")
    standing = {one.key: one for plans in wishes.stock.standing.values() for one in plans}
    adopted = {step.key for step in steps if step.action == "adopt"}
    ours = {
        key: one
        for key, one in standing.items()
        if key not in gone and (key in adopted or (one.found is None and one.plan.customer_id == case.customer.id))
    }
    ids = {key: one.plan.account_plan_id for key, one in ours.items()}
    ids |= {step.key: step.before.plan.account_plan_id for step in steps if step.renamed and step.before is not None}
    for plan_key in dict.fromkeys([*ids, *(step.key for step in steps if step.action in ("create", "replace"))]):
        one = standing.get(plan_key)
        of = Ref("account_plan", plan_key)
        goes_on = one is None or one.plan.end is None
        for key in _mapping_keys(plan_key, wishes.led if goes_on else {}):
            found = one is not None and one.found is not None and key[1] in one.found.external_ids
            yield mapping_decision(
                key, ids.get(plan_key, of), scope=scope, known=case.known_mappings, found=found, pending=pending, of=of
            )
    for plan_key, step in gone.items():
        one = standing[plan_key]
        for key in _mapping_keys(plan_key, wishes.led):
            mapped = one.found is not None and key[1] in one.found.external_ids
            if key in case.known_mappings or mapped:
                yield mapping_removal(key, one.plan.account_plan_id, scope=scope, after=step.ref)


def _mapping_keys(plan: Key, led: Mapping[Pair, Pair]) -> Iterator[Key]:
    """The keys of an account plan's mappings: its own item's, and those of items that stand in it, too."""
    yield plan_mapping_key(plan)
    for pair, leader in led.items():
        if leader == plan[:2]:
            yield plan_mapping_key((*pair, plan[2]))
