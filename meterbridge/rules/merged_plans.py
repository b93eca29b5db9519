"""Several decisions on one account plan, taken one after the other, as the one write that has their effect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from meterbridge.rules.intervals import instant_text
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import Intent, Key, KnownPlan, Quarantined, Ref

STARTS = ("create", "replace")


@dataclass(slots=True)
class MergedPlans:
    """Intents by account plan, in the order in which they can be sent; ``fresh`` are not at m3ter yet."""

    real: dict[Key, KnownPlan]
    merged: dict[Key, Intent] = field(default_factory=dict)
    fresh: set[Key] = field(default_factory=set)

    def take(self, intent: Intent, before: Key | None) -> None:
        """Add one decision to what was decided before; ``before`` is the account plan that it writes to."""
        match intent.action:
            case "delete":
                self._delete(intent)
            case "create":
                self._start(intent)
            case "replace":
                assert before is not None
                self._replace(intent, before)
            case _:
                self._update(intent, before or intent.key)

    def drop(self, key: Key) -> None:
        """What was to start does not; the one that it was to replace ends all the same."""
        gone = self.merged.pop(key)
        self.fresh.discard(key)
        for old in gone.state.get("replaces", ()):
            ended = self.real[tuple(old)]
            if tuple(old) not in self.merged and str(gone.state["start"]) > instant_text(ended.start):
                self.merged[tuple(old)] = _end(ended, gone)

    def _delete(self, intent: Intent) -> None:
        if intent.key in self.fresh:
            self.drop(intent.key)
        else:
            self.merged[intent.key] = intent

    def _start(self, intent: Intent) -> None:
        """A new one, after whatever of its product and account was written before; one deleted before is kept."""
        deleted = self.merged.get(intent.key)
        if deleted is not None:
            payload = {"id": deleted.payload["id"], **intent.payload}
            self.merged[intent.key] = replace(intent, action="update", payload=payload)
            return
        self.merged[intent.key] = replace(intent, depends_on=(*intent.depends_on, *self._beside(intent)))
        self.fresh.add(intent.key)

    def _replace(self, intent: Intent, old: Key) -> None:
        start = intent.payload["startDate"]
        if old in self.fresh:
            self._cut(old, start)
            state = {name: value for name, value in intent.state.items() if name != "replaces"}
            payload = {name: value for name, value in intent.payload.items() if name != "id"}
            self._start(replace(intent, action="create", payload=payload, state=state))
            return
        earlier = self.merged.get(old)
        if (
            earlier is not None
            and _inside(start, self.real[old])
            and not {"planId", "startDate"} & set(earlier.payload)
        ):
            del self.merged[old]
        elif earlier is not None:
            self.merged[old] = replace(earlier, payload={**earlier.payload, "endDate": None})
        self._start(intent)

    def _cut(self, key: Key, end: str) -> None:
        made = self.merged[key]
        self.merged[key] = replace(made, payload={**made.payload, "endDate": end}, state={**made.state, "end": end})

    def _update(self, intent: Intent, before: Key) -> None:
        earlier = self.merged.pop(before, None)
        if before in self.fresh:
            self.fresh.discard(before)
            self.fresh.add(intent.key)
        self.merged[intent.key] = intent if earlier is None else _laid_over(earlier, intent)

    def _beside(self, intent: Intent) -> Iterable[Ref]:
        for key, other in self.merged.items():
            same = ("account_id", "product_id")
            if key != intent.key and all(other.state[name] == intent.state[name] for name in same):
                yield Ref("account_plan", key)

    def finished(self, now: datetime) -> list[Intent | Quarantined]:
        """The writes, without those that change nothing; one that would delete what has started is set aside."""
        outcomes: list[Intent | Quarantined] = []
        for key in [key for key, one in self.merged.items() if one.action == "delete"]:
            if key in self.real and self.real[key].start <= now:
                self._inherit(key)
        for key, intent in self.merged.items():
            known = self.real.get(key)
            if intent.action == "delete" and known is not None and known.start <= now:
                message = f"account plan {known.account_plan_id} started, but nothing of it should be left"
                version = intent.source_version if known.due != known.start else known.due_by
                outcomes.append(
                    Quarantined("account_plan", key, "MB-PLAN-BILLED", message, source_version=version, due=known.start)
                )
            elif not (intent.action == "update" and known is not None and _is_true(intent, known)):
                outcomes.append(self._finished(intent))
        return outcomes

    def _inherit(self, key: Key) -> None:
        """What started and should never have stood is written over with what should have, where there is such a one."""
        gone = self.merged[key]
        for heir_key in self.fresh:
            heir = self.merged[heir_key]
            same = all(heir.state[name] == gone.state[name] for name in ("account_id", "product_id"))
            if heir.action == "create" and same and heir.key[0] == key[0]:
                payload = {"id": gone.payload["id"], **heir.payload}
                state = {**heir.state, "replaces": [list(key)]}
                self.merged[heir_key] = replace(heir, action="update", payload=payload, state=state)
                del self.merged[key]
                self.fresh.discard(heir_key)
                return

    def _finished(self, intent: Intent) -> Intent:
        made = self.merged.keys()
        needed = [r for r in intent.depends_on if r.kind != "account_plan" or (r.key in made and r.key != intent.key)]
        wanted = {name: value for name, value in intent.payload.items() if name != "id"}
        return replace(
            intent, depends_on=tuple(dict.fromkeys(needed)), fingerprint=fingerprint(wanted or list(intent.key))
        )


def _laid_over(earlier: Intent, later: Intent) -> Intent:
    """The later intent's wishes over the earlier one's, sent as the earlier one would be."""
    payload = {**earlier.payload, **{name: value for name, value in later.payload.items() if name != "id"}}
    if earlier.action in STARTS and payload.get("endDate", "") is None:
        del payload["endDate"]
    kept = {"replaces": earlier.state["replaces"]} if "replaces" in earlier.state else {}
    return replace(
        later,
        action=earlier.action,
        payload=payload,
        reason=later.reason if later.reason == earlier.reason else f"{earlier.reason}; {later.reason}",
        depends_on=(*earlier.depends_on, *later.depends_on),
        state={**later.state, **kept},
        warnings=tuple(dict.fromkeys([*earlier.warnings, *later.warnings])),
    )


def _end(ended: KnownPlan, gone: Intent) -> Intent:
    """The update that leaves an account plan ended where its replacement would have begun."""
    at = gone.state["start"]
    payload = {"id": ended.account_plan_id, "endDate": at, "childBillingMode": gone.payload["childBillingMode"]}
    state = {
        "account_id": ended.account_id,
        "customer_id": ended.customer_id,
        "plan_id": ended.plan_id,
        "product_id": ended.product_id,
        "start": instant_text(ended.start),
        "end": at,
        "terms": ended.terms,
        "items": list(ended.items),
        "paused": False,
        "subscription_id": ended.subscription_id,
        "item_price_id": ended.item_price_id,
        "period": ended.period,
    }
    key = (ended.subscription_id, ended.item_price_id, str(ended.period))
    return replace(gone, action="update", key=key, payload=payload, state=state, depends_on=(), warnings=())


def _inside(instant: str, plan: KnownPlan) -> bool:
    at = datetime.fromisoformat(instant)
    return plan.start < at and (plan.end is None or at < plan.end)


def _is_true(intent: Intent, known: KnownPlan) -> bool:
    """True if an update only says what stands: then nothing is left of it."""
    if "planId" in intent.payload:
        return False
    if intent.payload.get("billEpoch", str(known.epoch.stands)) != str(known.epoch.stands):
        return False
    start = intent.payload.get("startDate")
    end = intent.payload.get("endDate", "as it is")
    return (start is None or datetime.fromisoformat(start) == known.start) and (
        end == "as it is" or (None if end is None else datetime.fromisoformat(str(end))) == known.end
    )
