"""What a person changed by hand in m3ter: reported, or brought back, by setting. Never fought over unasked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from meterbridge.rules.accounts import (
    AccountPolicy,
    account_code,
    account_currency,
    decide_account,
    decide_child_account,
    subscription_of_child,
)
from meterbridge.rules.bill_epochs import billing_epoch, full_terms
from meterbridge.rules.intervals import instant_text
from meterbridge.rules.keys import account_plan_code, fingerprint
from meterbridge.rules.plan_intents import account_mapping_key, mapping_moved, mapping_removal, plan_mapping_key
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.records import (
    Action,
    CustomerCase,
    Decision,
    Intent,
    Key,
    KnownPlan,
    Quarantined,
    Ref,
    Subscription,
    Unchanged,
)

OnForeignEdit = Literal["report", "repair"]
CODE = "MB-FOREIGN-EDIT"


@dataclass(frozen=True, slots=True)
class Edited:
    """An account plan as the ledger knows it, and as it stands in m3ter; None where it is gone.

    ``gone_account`` is the key of its account where that one was deleted, too.
    """

    known: KnownPlan
    found: Mapping[str, str | None] | None
    gone_account: Key | None = None

    @property
    def key(self) -> Key:
        """The account plan's natural key."""
        return (self.known.subscription_id, self.known.item_price_id, str(self.known.period))

    @property
    def is_ended(self) -> bool:
        """True if all that a person did was to delete it, or to give it an end."""
        if self.found is None:
            return True
        same = all(self.found[name] == ours for name, ours in _as_left(self.known).items() if name != "endDate")
        return same and self.found["endDate"] is not None

    def words(self) -> str:
        """What differs, field by field."""
        named = f"account plan {self.known.account_plan_id} of subscription {self.key[0]}, {self.key[1]}"
        if self.found is None:
            return f"{named}, was deleted in m3ter"
        fields = ((name, ours, self.found[name]) for name, ours in _as_left(self.known).items())
        changes = [
            f"{name} {ours or 'none'} became {theirs or 'none'}" for name, ours, theirs in fields if ours != theirs
        ]
        return f"{named}, was changed in m3ter: {', '.join(changes)}"


def _as_left(known: KnownPlan) -> dict[str, str | None]:
    end = None if known.end is None else instant_text(known.end)
    epoch = {} if known.epoch.left is None else {"billEpoch": known.epoch.left.isoformat()}
    return epoch | {
        "accountId": known.account_id,
        "planId": known.plan_id,
        "startDate": instant_text(known.start),
        "endDate": end,
    }


def decide_edited(
    edited: Edited, on_foreign_edit: OnForeignEdit, policy: PlanPolicy, subscription: Subscription | None
) -> list[Decision]:
    """Report an edited account plan, or make it again what we left.

    Args:
        edited: As the ledger knows it and as it stands.
        on_foreign_edit: The setting.
        policy: The settings, and the organisation's zone.
        subscription: As Chargebee shows it, to count the billing periods of one that is made again from; None where
            it is not shown any more.
    """
    if on_foreign_edit == "report":
        return [Quarantined("account_plan", edited.key, CODE, edited.words())]
    known = edited.known
    wanted: dict[str, Any] = {name: value for name, value in _as_left(known).items() if value is not None}
    if edited.found is not None:
        changed = {name: value for name, value in _as_left(known).items() if edited.found[name] != value}
        payload = {"id": known.account_plan_id, **changed}
        return [_repair("update", edited, payload)]
    if edited.gone_account is not None:
        wanted["accountId"] = Ref("account", edited.gone_account)
    wanted["code"] = account_plan_code(known.subscription_id, known.item_price_id, known.period)
    if subscription is not None:
        terms = full_terms(subscription, policy.zone, known.start)
        left = [] if known.epoch.left is None else [known.epoch.left]
        wanted["billEpoch"] = billing_epoch(terms, left, exact=known.start > policy.now).isoformat()
    wanted["childBillingMode"] = policy.child_billing_mode
    return [_repair("create", edited, wanted), _mapping(edited)]


def decide_deleted(edited: Edited) -> list[Decision]:
    """Take over that a person deleted what no run may delete: the ledger learns it, and its mapping goes."""
    remote, scope = edited.known.account_plan_id, f"account:{edited.known.customer_id}"
    gone = _written("delete", edited, {"id": remote}, f"accepted: {edited.words()}")
    after = Ref("account_plan", edited.key)
    return [gone, mapping_removal(plan_mapping_key(edited.key), remote, scope=scope, after=after)]


def _repair(action: Literal["create", "update"], edited: Edited, payload: Mapping[str, Any]) -> Intent:
    return _written(action, edited, payload, f"brought back: {edited.words()}")


def _written(action: Action, edited: Edited, payload: Mapping[str, Any], reason: str) -> Intent:
    known = edited.known
    end = None if known.end is None else instant_text(known.end)
    wanted = {name: value for name, value in payload.items() if name != "id"}
    account = payload.get("accountId", known.account_id)
    return Intent(
        kind="account_plan",
        key=edited.key,
        action=action,
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint(wanted or list(edited.key)),
        reason=reason,
        scope=f"account:{known.customer_id}",
        depends_on=(account,) if isinstance(account, Ref) else (),
        state={
            "account_id": account,
            "customer_id": known.customer_id,
            "plan_id": known.plan_id,
            "product_id": known.product_id,
            "start": instant_text(known.start),
            "end": end,
            "terms": known.terms,
            "items": list(known.items),
            "paused": known.paused,
            "subscription_id": known.subscription_id,
            "item_price_id": known.item_price_id,
            "period": known.period,
        },
    )


def _mapping(edited: Edited) -> Intent:
    """The mapping of one that was made again names the new one."""
    known = edited.known
    scope = f"account:{known.customer_id}"
    return mapping_moved(
        plan_mapping_key(edited.key), Ref("account_plan", edited.key), known.account_plan_id, scope=scope
    )


def with_decided(repair: Intent, decided: Intent) -> Intent:
    """One write that brings an account plan back as the update decided beside it wants it."""
    wishes = {name: value for name, value in decided.payload.items() if name != "id"}
    payload = {**repair.payload, **wishes}
    if repair.action == "create" and payload.get("endDate", "") is None:
        del payload["endDate"]
    told = f"{repair.reason}; {decided.reason}"
    state = {**decided.state, "account_id": repair.state["account_id"]}
    after = (*decided.depends_on, *repair.depends_on)
    return replace(decided, action=repair.action, payload=payload, reason=told, state=state, depends_on=after)


def account_edited(case: CustomerCase, decision: Decision, wanted_name: str) -> str | None:
    """What differs on an account that is, by the ledger, as it should be; None where nothing does, or nobody looked."""
    known = case.known_account
    if known is None or not isinstance(decision, Unchanged):
        return None
    found = next((account for account in case.found_accounts if account.id == known.account_id), None)
    if found is None:
        return None
    fields = (
        ("code", account_code(case), found.code),
        ("name", wanted_name, found.name),
        ("currency", account_currency(case), found.currency),
    )
    # The values of a name are personal: only that it differs is said.
    changed = [name for name, ours, theirs in fields if ours is not None and ours != theirs]
    if not changed:
        return None
    return f"account {found.id} of customer {case.customer.id} was changed in m3ter: {', '.join(changed)}"


def gone_accounts(case: CustomerCase, gone: Collection[str]) -> dict[Key, str]:
    """The customer's account, and those under it, that are among these; their ids by their keys."""
    known = [(case.customer.id, case.known_account.account_id)] if case.known_account else []
    known += [(child.customer_id, child.account_id) for child in case.known_children]
    return {(name,): account_id for name, account_id in known if account_id in gone}


def accounts_gone(
    case: CustomerCase,
    gone: Mapping[Key, str],
    decided: Iterable[Decision],
    on_foreign_edit: OnForeignEdit,
    policy: AccountPolicy,
) -> Iterator[Decision]:
    """The decisions of a customer with deleted accounts: told, or each account made anew and its mapping moved.

    What the customer's subscriptions start meanwhile goes to the new account; without one it waits.

    Args:
        case: The customer.
        gone: Ids of the deleted accounts by their keys, the customer's own or one under it.
        decided: What was decided as if they were there.
        on_foreign_edit: The setting.
        policy: The settings.
    """
    anew = {key: _anew(case, key, account_id, on_foreign_edit, policy) for key, account_id in gone.items()}
    keys = {account_id: key for key, account_id in gone.items()}
    mapped = {account_mapping_key(key): key for key in gone if isinstance(anew[key], Intent)}
    for one in decided:
        onto = keys.get(str(one.payload.get("accountId"))) if isinstance(one, Intent) else None
        if one.kind == "account" and one.key in gone:
            yield anew[one.key]
        elif isinstance(one, Intent) and one.kind == "account_plan" and onto is not None:
            account = Ref("account", onto)
            made = isinstance(anew[onto], Intent)
            yield _onto(one, account) if made else _waits(one, account, _was_deleted(case, onto, gone[onto]))
        elif one.kind == "external_mapping" and one.key in mapped:
            key = mapped[one.key]
            yield mapping_moved(one.key, Ref("account", key), gone[key], scope=f"account:{case.customer.id}")
        else:
            yield one


def _was_deleted(case: CustomerCase, key: Key, account_id: str) -> str:
    own = key == (case.customer.id,)
    child = "" if own else f"subscription {subscription_of_child(case.customer.id, key[0])} of "
    return f"account {account_id} of {child}customer {case.customer.id} was deleted in m3ter"


def _anew(
    case: CustomerCase, key: Key, account_id: str, on_foreign_edit: OnForeignEdit, policy: AccountPolicy
) -> Decision:
    """The account as a customer, or a subscription, without one gets it; or that it is gone."""
    told = _was_deleted(case, key, account_id)
    if on_foreign_edit == "report":
        return Quarantined("account", key, CODE, told, source_version=case.customer.resource_version)
    if key == (case.customer.id,):
        made = decide_account(replace(case, known_account=None, similar=()), policy, in_scope=True)
    else:
        (child,) = (one for one in case.known_children if (one.customer_id,) == key)
        others = tuple(one for one in case.known_children if one is not child)
        subscription_id = subscription_of_child(case.customer.id, key[0])
        made = decide_child_account(replace(case, known_children=others), subscription_id, child.currency, policy)
    return replace(made, reason=f"brought back: {told}") if isinstance(made, Intent) else made


def _onto(intent: Intent, account: Ref) -> Intent:
    payload, state = {**intent.payload, "accountId": account}, {**intent.state, "account_id": account}
    return replace(intent, payload=payload, state=state, depends_on=(*intent.depends_on, account))


def _waits(intent: Intent, foundation: Ref, told: str) -> Quarantined:
    version = intent.source_version
    return Quarantined(
        intent.kind, intent.key, "MB-DEPENDS", f"waits: {told}", source_version=version, waits_for=foundation
    )
