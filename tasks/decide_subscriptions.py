"""Rows of ``int_customers`` → rules → the change set of ``sync_subscriptions``. Calls no vendor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from meterbridge.errors import SetupError
from meterbridge.ledger import facts, quarantine
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.account_plans import PlanPolicy
from meterbridge.rules.accounts import AccountPolicy
from meterbridge.rules.code_clashes import clashes
from meterbridge.rules.histories import Moment, decide_through
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.kinds import kinds_of
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    FoundAccount,
    FoundPlan,
    Intent,
    Key,
    KnownAccount,
    PlanTarget,
    Quarantined,
    Subscription,
    SubscriptionItem,
)
from meterbridge.rules.similar import Evidence, SimilarAccount
from meterbridge.settings import Settings
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import day, instant, moment, required
from tasks.case_rows import known_plan
from tasks.change_set import ChangeSet, Tray, land, refused_before
from tasks.engine import task
from tasks.foreign_edits import Edits
from tasks.runs import Run
from tasks.services import services
from tasks.similar import TWIN
from tasks.under_way import UnderWay

KINDS = kinds_of("subscriptions")
OWNERS = (
    "select distinct c.invoice_owner_id as id from stg_customers as c "
    "join stg_subscriptions as s on s.customer_id = c.id "
    "join stg_subscription_items as i on i.subscription_id = s.id "
    "join ref_catalog_plans as p on p.item_price = i.item_price_id "
    "where c.invoice_owner_id is not null and c.invoice_owner_id <> c.id"
)
"""Customers that others' invoices go to: a parent account is needed even where they have no subscription themselves."""


def subject(kind: str, key: Key) -> str:
    """Whose record it is: the customer of an account, the subscription of an account plan."""
    return key[1] if kind == "external_mapping" else key[0]


@task(name="decide subscriptions")
def decide_subscriptions(run: Run) -> ChangeSet:
    """Desired minus known, customer by customer, landed as ``out_intents`` and ``map_*``."""
    work = services(run.run_id)
    with work.ledger.read() as rx:
        refused = {} if run.request.by_name else refused_before(rx, KINDS)
        no_twins = apart(rx)
        due = {key: datetime.fromtimestamp(at, UTC) for key, (at, _) in quarantine.due(rx).items()}
    tray = Tray(refused)
    subjects: set[str] = set()
    with opened(run.path) as file:
        accounts, plans = _policies(run, file)
        with work.ledger.read() as rx:
            under_way = UnderWay.read(rx, file)
        edits = Edits.read(work, run, file, under_way)
        for broken in file.rows("select * from chk_subscriptions order by id"):
            message = f"subscription {broken['id']} comes without {broken['problem']}"
            tray.put(
                Quarantined(
                    "account_plan", (broken["id"],), "MB-RECORD", message, source_version=broken["resource_version"]
                )
            )
        for gone in file.rows("select * from chk_missing order by id"):
            message = f"subscription {gone['id']}: events tell of it, but Chargebee does not show it"
            tray.put(Quarantined("account_plan", (gone["id"],), "MB-MISSING", message))
        targets = {row["item_price"]: _target(row) for row in file.rows("select * from ref_plan_targets")}
        owners = {row["id"] for row in file.rows(OWNERS)}
        for row in file.rows("select * from int_customers order by id"):
            case = _with_due_starts(_case(row, targets, under_way, prefix=work.site.prefix), due)
            policy = replace(accounts, all_customers=True) if row["id"] in owners else accounts
            policy = replace(policy, on_similar_account="create") if row["id"] in no_twins else policy
            subjects |= {case.customer.id, f"account:{case.customer.id}", *(s.id for s in case.subscriptions)}
            edits.subscriptions |= {subscription.id: subscription for subscription in case.subscriptions}
            decided = decide_through(case, list(_moments(row["earlier"])), policy, plans)
            for decision in edits.of_account(case, decided, policy):
                tray.put(decision)
        edits.of_plans(file, tray, plans)
        _set_clashes_aside(run, file, tray)
        change_set = land(file, tray, subjects)
        _land_mapped(file, tray.intents)
    return change_set


def apart(rx: Reader) -> set[str]:
    """Customers of whom a person has said that the accounts which look like theirs are somebody else's."""
    return {row.key[0] for row in quarantine.list(rx, "dismissed") if row.code == TWIN}


def _set_clashes_aside(run: Run, file: Staging, tray: Tray) -> None:
    """What m3ter would refuse for its code is set aside before anything is sent, so that a dry run tells it, too."""
    with services(run.run_id).ledger.read() as rx:
        again = frozenset(row.key for row in quarantine.list(rx, state="retry") if row.kind == "account")
    if run.request.by_name:
        again |= {intent.key for intent in tray.intents}
    known = [row["customer_id"] for row in file.rows("select customer_id from ref_accounts")]
    elsewhere = {row["code"].casefold(): row["site"] for row in file.rows("select code, site from ref_other_sites")}
    for clash in clashes(tray.intents, known, again, elsewhere):
        tray.intents = [one for one in tray.intents if (one.kind, one.key) != (clash.kind, clash.key)]
        tray.put(clash)


def present(run: Run, file: Staging) -> datetime:
    """Now at the Chargebee site: never before anything that it tells of, for what happens while a run reads is read."""
    query = "select max(greatest(coalesce(told_at, 0), coalesce(updated_at, 0))) as newest from stg_versions"
    newest = next(file.rows(query))["newest"] or 0
    return datetime.fromtimestamp(max(run.site.now, newest), UTC)


@dataclass(frozen=True, slots=True)
class Organization:
    """The m3ter organisation's settings for account plans, as this run was told when it opened."""

    overlapping: bool
    zone: tzinfo

    @classmethod
    def read(cls, rx: Reader) -> Organization:
        """Read the facts of the connection; an offset such as ``+02:00`` is a zone, too."""
        overlapping = facts.get(rx, "m3ter_allow_overlapping_plans") == "true"
        return cls(overlapping, zone_of(facts.get(rx, "m3ter_timezone") or "UTC"))


def zone_of(name: str) -> tzinfo:
    """The zone that m3ter names or gives as an offset.

    Raises:
        SetupError: ``MB-SETTING``, there is no such zone here: its days cannot be told.
    """
    try:
        if name[0] in "+-":
            return datetime.strptime(name.replace(":", ""), "%z").tzinfo or UTC
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as failure:
        remedy = "Correct the time zone in m3ter's organisation configuration, or install tzdata here."
        message = f"the m3ter organisation's time zone {name!r} is unknown"
        raise SetupError("MB-SETTING", message, remedy=remedy) from failure


def _policies(run: Run, file: Staging) -> tuple[AccountPolicy, PlanPolicy]:
    work = services(run.run_id)
    with work.ledger.read() as rx:
        organization = Organization.read(rx)
    accounts, plans = policies(work.settings, present(run, file), organization)
    # A full read is no reason to move everybody's billing periods at once.
    return accounts, replace(plans, corrects_older=run.request.repair or not run.full)


def policies(settings: Settings, now: datetime, organization: Organization) -> tuple[AccountPolicy, PlanPolicy]:
    """The settings as the rules take them."""
    accounts = AccountPolicy(
        placeholder_email_domain=settings.placeholder_email_domain,
        hierarchy=settings.hierarchy,
        all_customers=settings.all_customers,
        accounts_only=settings.accounts_only,
        accounts_except=settings.accounts_except,
        on_similar_account=settings.on_similar_account,
    )
    plans = PlanPolicy(
        trial=settings.trial,
        replace_on=settings.replace_on,
        on_product_overlap=settings.on_product_overlap,
        allow_overlapping_plans=organization.overlapping,
        hierarchy=settings.hierarchy,
        now=now,
        zone=organization.zone,
    )
    return accounts, plans


def _land_mapped(file: Staging, intents: list[Intent]) -> None:
    file.clear("map_accounts", "map_account_plans")
    file.land_rows("map_accounts", (_mapped_account(i) for i in intents if i.kind == "account"))
    file.land_rows("map_account_plans", (_mapped_plan(i) for i in intents if i.kind == "account_plan"))


def _mapped_account(intent: Intent) -> dict[str, Any]:
    shown = {"customer_id": intent.key[0], "action": intent.action, "reason": intent.reason}
    return {**shown, "account_id": intent.payload.get("id"), "payload": _without_refs(intent.payload)}


def _mapped_plan(intent: Intent) -> dict[str, Any]:
    subscription_id, item_price_id, period = intent.key
    shown = {"subscription_id": subscription_id, "item_price_id": item_price_id, "period": period}
    return {**shown, "action": intent.action, "payload": _without_refs(intent.payload), "reason": intent.reason}


def _without_refs(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | dict | list | None) else str(value)
        for name, value in payload.items()
    }


def _case(
    row: Mapping[str, Any], targets: Mapping[str, PlanTarget], under_way: UnderWay, *, prefix: str
) -> CustomerCase:
    subscriptions = tuple(_subscription(s) for s in row["subscriptions"])
    made = under_way.made(prefix)
    known = None
    if row["account_id"]:
        known = KnownAccount(
            row["id"],
            row["account_id"],
            row["account_fingerprint"],
            row["account_currency"],
            row["account_parent"],
            row["account_code"],
        )
    return CustomerCase(
        customer=_customer(row),
        subscriptions=subscriptions,
        targets=targets,
        known_account=known,
        known_plans=tuple(known_plan(k, prefix) for k in row["known_plans"]),
        found_accounts=tuple(
            FoundAccount(f["id"], f["code"], f["name"], f["currency"], tuple(f["mapped"]), f["own"])
            for f in row["found_accounts"]
        ),
        found_plans=tuple(one for one in map(_found_plan, row["found_plans"]) if one.code not in made),
        changed_at=dict(_changes(row["subscriptions"])),
        known_children=tuple(
            KnownAccount(c["customer_id"], c["account_id"], c["fingerprint"], c["currency"]) for c in row["children"]
        ),
        known_mappings=frozenset(key_from_text(text) for text in row["known_mappings"]),
        similar=tuple(_similar(one) for one in row["similar"]),
        prefix=prefix,
    )


def _customer(row: Mapping[str, Any]) -> Customer:
    return Customer(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        address=Address(**(row["address"] or {})),
        currency=row["currency"],
        invoice_owner_id=row["invoice_owner_id"],
        deleted=row["deleted"],
        resource_version=row["resource_version"],
    )


def _with_due_starts(case: CustomerCase, due: Mapping[Key, datetime]) -> CustomerCase:
    """Return the case with the starts that are due: those of keys that no account plan has; the others are ends."""
    known = {(plan.subscription_id, plan.item_price_id, str(plan.period)) for plan in case.known_plans}
    ids = {subscription.id for subscription in case.subscriptions}
    starts = {(key[0], key[1]): at for key, at in due.items() if key[0] in ids and key not in known}
    return replace(case, due_starts=starts) if starts else case


def _similar(row: Mapping[str, Any]) -> SimilarAccount:
    evidence: tuple[tuple[Evidence, bool], ...] = (("e-mail", row["same_email"]), ("name", row["same_name"]))
    return SimilarAccount(
        id=row["account_id"],
        code=row["code"],
        currency=row["currency"],
        parent_id=row["parent_id"],
        evidence=tuple(name for name, same in evidence if same),
        customers=tuple(row["customers"]),
    )


def _changes(rows: list[dict[str, Any]]) -> Iterator[tuple[str, datetime]]:
    for row in rows:
        if row["changed_at"] is not None:
            yield row["id"], datetime.fromtimestamp(row["changed_at"], UTC)


def _moments(rows: list[dict[str, Any]]) -> Iterator[Moment]:
    for row in rows:
        yield Moment(_subscription(row), datetime.fromtimestamp(row["told_at"], UTC), instant(row["changed_at"]))


def _subscription(row: Mapping[str, Any]) -> Subscription:
    instants = {name: instant(row[name]) for name in _INSTANTS}
    return Subscription(
        id=row["id"],
        customer_id=row["customer_id"],
        status=row["status"],
        currency=row["currency"],
        items=tuple(SubscriptionItem(**item) for item in row["items"]),
        billing_period=row["billing_period"],
        billing_period_unit=row["billing_period_unit"],
        deleted=row["deleted"],
        resource_version=row["resource_version"],
        **instants,
    )


_INSTANTS = (
    "created_at",
    "start_date",
    "trial_end",
    "started_at",
    "activated_at",
    "current_term_start",
    "current_term_end",
    "next_billing_at",
    "cancelled_at",
    "pause_date",
    "resume_date",
    "updated_at",
)


def _target(row: Mapping[str, Any]) -> PlanTarget:
    names = ("item_price", "plan_code", "plan_id", "product_id", "currency", "replace_on")
    return PlanTarget(*(row[name] for name in names))


def _found_plan(row: Mapping[str, Any]) -> FoundPlan:
    return FoundPlan(
        id=row["id"],
        account_id=row["account_id"],
        plan_id=row["plan_id"] or "",
        product_id=row["product_id"] or "",
        code=row["code"],
        start=required(row["start"]),
        end=moment(row["end"]),
        external_ids=tuple(row["external_ids"]),
        bill_epoch=day(row["bill_epoch"]),
    )
