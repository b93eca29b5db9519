"""Steps → intents: payloads, what the ledger shall know, and the mappings m3ter shall hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from meterbridge.rules.intervals import instant_text
from meterbridge.rules.keys import account_plan_code, external_id, fingerprint
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.plan_steps import Step
from meterbridge.rules.records import Action, Decision, Intent, Key, Ref, Unchanged


def plan_intent(step: Step, policy: PlanPolicy, pending: frozenset[Ref]) -> Intent:
    """One account plan's intent.

    ``update`` and ``adopt`` name the fields that shall be true; ``endDate`` None
    takes the end away. ``pending`` are the accounts that this change set creates
    or adopts.
    """
    payload = _payload(step, policy)
    needs = (Ref("account", step.place.key),) if step.whole else ()
    old = {} if step.before is None or not _closes(step) else {"replaces": [list(step.before.key)]}
    return Intent(
        kind="account_plan",
        key=step.key,
        action=step.action,
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint({name: value for name, value in payload.items() if name != "id"} or step.key),
        reason=step.reason,
        scope=f"account:{_customer(step)}",
        depends_on=tuple(dict.fromkeys([*(ref for ref in needs if ref in pending), *step.after])),
        state={**_state(step), **old},
        source_version=step.subscription.resource_version,
        warnings=step.warnings,
    )


def due_of(kind: str, action: str, payload: Mapping[str, Any], state: Mapping[str, Any]) -> datetime | None:
    """When a write to an account plan should have had its effect: the start of one that begins, else its new end."""
    if kind != "account_plan":
        return None
    begins = action in ("create", "replace")
    ends = action == "update" and "planId" not in payload
    at = state.get("start") if begins else payload.get("endDate") if ends else None
    return datetime.fromisoformat(at) if at else None


def _closes(step: Step) -> bool:
    return step.action == "replace" or step.renamed


def _payload(step: Step, policy: PlanPolicy) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if step.before is not None:
        payload["id"] = step.before.plan.account_plan_id
    if step.interval is None:
        return payload
    if step.whole:
        payload |= {"accountId": step.place.ref, "planId": step.plan_id, "code": _code(step)}
    if step.epoch is not None:
        payload["billEpoch"] = step.epoch.isoformat()
    before = None if step.before is None or step.action == "replace" else step.before.interval
    if before is None or step.whole or before.start != step.interval.start:
        payload["startDate"] = instant_text(step.interval.start)
    if step.interval.end is not None:
        payload["endDate"] = instant_text(step.interval.end)
    elif before is not None and before.end is not None:
        payload["endDate"] = None
    payload["childBillingMode"] = policy.child_billing_mode
    return payload


def _code(step: Step) -> str:
    subscription_id, item_price_id, period = step.key
    return account_plan_code(subscription_id, item_price_id, int(period))


def _state(step: Step) -> dict[str, Any]:
    """What the mapping holds once applied; a pending account is named as in payloads, ``{"$ref": […]}``."""
    subscription_id, item_price_id, period = step.key
    interval = step.interval or (step.before.interval if step.before is not None else None)
    assert interval is not None
    return {
        "account_id": step.place.account_id or {"$ref": ["account", *step.place.key]},
        "customer_id": _customer(step),
        "plan_id": step.plan_id,
        "product_id": step.product_id,
        "start": instant_text(interval.start),
        "end": None if interval.end is None else instant_text(interval.end),
        "terms": step.terms,
        "items": list(step.items),
        "paused": step.paused,
        "subscription_id": subscription_id,
        "item_price_id": item_price_id,
        "period": int(period),
    }


def _customer(step: Step) -> str:
    if step.whole or step.before is None:
        return step.subscription.customer_id
    return step.before.plan.customer_id


# --- external mappings ------------------------------------------------------------------


def account_mapping_key(account: Key) -> Key:
    """The natural key of an account's mapping to its customer."""
    return ("Account", account[0])


def plan_mapping_key(plan: Key) -> Key:
    """The natural key of an account plan's mapping to its subscription item."""
    return ("AccountPlan", external_id(plan[0], plan[1]), plan[2])


def mapping_decision(
    key: Key, m3ter_id: Ref | str, *, scope: str, known: frozenset[Key], found: bool, pending: frozenset[Ref], of: Ref
) -> Decision:
    """A mapping that shall stand: unknown to the ledger it is created, or adopted where m3ter holds it already."""
    if key in known:
        return Unchanged("external_mapping", key)
    action: Action = "adopt" if found else "create"
    what = "is there already" if found else "is missing"
    reason = f"the mapping of {key[0]} to {key[1]} {what}"
    return _mapping(action, key, m3ter_id, scope, reason=reason, after=(of,) if of in pending else ())


def mapping_removal(key: Key, account_plan_id: str, *, scope: str, after: Ref) -> Intent:
    """The mapping of an account plan that is deleted goes after it."""
    reason = f"the account plan of {key[1]} is deleted or stands for another item"
    return _mapping("delete", key, account_plan_id, scope, reason=reason, after=(after,))


def mapping_moved(key: Key, made: Ref, gone: str, *, scope: str) -> Intent:
    """The mapping of something that was deleted by hand and made again names the new one."""
    reason = f"what {key[1]} was mapped to was made again"
    moved = _mapping("update", key, made, scope, reason=reason, after=(made,))
    return replace(moved, fingerprint=fingerprint(["update", key, gone]))


def _mapping(
    action: Action, key: Key, m3ter_id: Ref | str, scope: str, *, reason: str, after: tuple[Ref, ...]
) -> Intent:
    payload: Mapping[str, Any] = {
        "m3terEntity": key[0],
        "m3terId": m3ter_id,
        "externalSystem": "Chargebee",
        "externalTable": "Customer" if key[0] == "Account" else "Subscription",
        "externalId": key[1],
    }
    return Intent(
        kind="external_mapping",
        key=key,
        action=action,
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint([action, key]),
        reason=reason,
        scope=scope,
        depends_on=after,
        state={"customer_id": scope.removeprefix("account:")},
    )


def in_order(steps: Iterable[Step]) -> Iterator[Step]:
    """Adoptions, then what ends or shortens, then replacements, then what starts; each after what it waits for."""
    rank = {"adopt": 0, "delete": 1, "update": 1, "replace": 2, "create": 3}
    waiting = sorted(steps, key=lambda step: rank[step.action])
    open_refs = {step.ref for step in waiting}
    while waiting:
        ready = [step for step in waiting if not any(ref in open_refs and ref != step.ref for ref in step.after)]
        for step in ready or waiting:
            open_refs.discard(step.ref)
            yield step
        done = {id(step) for step in ready or waiting}
        waiting = [step for step in waiting if id(step) not in done]
