"""One m3ter intent: what to send, what the answer means. m3ter has no idempotency keys: look before sending again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.m3ter import requests
from connectors.m3ter.client import M3terClient
from connectors.transport import Answer, Request, path
from meterbridge.errors import BrokenInvariant, RecordRefused
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.keys import coded
from meterbridge.rules.records import Key
from meterbridge.rules.sites import TABLES, Site

Resolve = Callable[[str, Key], str | None]
"""(kind, natural key) → remote id, from the ledger."""

READ_ONLY = frozenset({"id", "dtCreated", "dtLastModified", "createdBy", "lastModifiedBy", "productId"})
"""What m3ter adds to its answers; sending it back does nothing."""


@dataclass(frozen=True, slots=True)
class Send:
    """This request must go out."""

    request: Request


@dataclass(frozen=True, slots=True)
class AlreadyTrue:
    """m3ter looks as intended; ``remote_id`` is the thing's id, ``found`` the thing where it was read whole."""

    remote_id: str
    found: Mapping[str, Any] | None = None


def resolved(value: Any, resolve: Resolve) -> Any:
    """Put remote ids where the payload has references.

    Raises:
        RecordRefused: MB-DEPENDS when the thing referred to is not there (yet).
    """
    if isinstance(value, Mapping):
        if set(value) == {"$ref"}:
            kind, *key = value["$ref"]
            remote_id = resolve(kind, tuple(key))
            if remote_id is None:
                raise RecordRefused("MB-DEPENDS", f"{kind} {' / '.join(key)} is not in m3ter yet")
            return remote_id
        return {name: resolved(item, resolve) for name, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, resolve) for item in value]
    return value


def prepare(m3ter: M3terClient, row: IntentRow, resolve: Resolve, *, look: bool, site: Site) -> Send | AlreadyTrue:
    """Turn an intent into the exact request, or find that nothing is left to do.

    Args:
        look: An earlier try may have landed, so what it would have made is looked up first.
        site: Whose site's accounts carry; an account of another one is never written to.
    """
    payload = resolved(row.payload, resolve)
    if row.kind == "external_mapping" and payload["externalTable"] in TABLES:
        payload["externalId"] = site.given(payload["externalId"])
    if row.kind == "account_plan" and "code" in payload:
        payload["code"] = coded(site.prefix, payload["code"])
    match row.kind, row.action:
        case "account", "create":
            return _create_account(m3ter, row, payload, look=look, site=site)
        case "account", "update" | "adopt":
            return _change_account(m3ter, row, payload, site)
        case "account_plan", "create" | "replace":
            return _start_account_plan(m3ter, row, payload, look=look)
        case "account_plan", "update" | "adopt":
            current = m3ter.account_plan(payload["id"])
            return _overlay(
                current, payload, lambda body: requests.update_account_plan(m3ter.organization_id, current["id"], body)
            )
        case "account_plan", "delete":
            return _delete(m3ter, "/accountplans/", payload["id"], requests.delete_account_plan)
        case "external_mapping", "create" | "adopt":
            return _create_mapping(m3ter, payload, look=look or row.action == "adopt")
        case "external_mapping", "update":
            return _point_mapping(m3ter, payload, resolve("external_mapping", row.key))
        case "external_mapping", "delete":
            mapping_id = resolve("external_mapping", row.key) or _mapping_id(m3ter, payload)
            if mapping_id is None:
                return AlreadyTrue("")
            return _delete(m3ter, "/externalmappings/", mapping_id, requests.delete_mapping)
        case _:
            raise BrokenInvariant("MB-INVARIANT", f"no m3ter request for {row.action} {row.kind}")


def made_by(row: IntentRow, answer: Answer) -> Mapping[str, Any]:
    """The thing that the intent made, as the answer shows it."""
    body = answer.json()
    made = body.get("newAccountPlan", body) if isinstance(body, dict) else {}
    if not isinstance(made, dict) or not isinstance(made.get("id"), str):
        raise BrokenInvariant("MB-INVARIANT", f"m3ter's answer to {row.action} {row.kind} {row.key} has no id")
    return made


def _create_account(
    m3ter: M3terClient, row: IntentRow, payload: Mapping[str, Any], *, look: bool, site: Site
) -> Send | AlreadyTrue:
    if look:
        for account in m3ter.accounts(codes=[payload["code"]]):
            if account["code"] == payload["code"]:
                _refuse_other_site(row, account, site)
                _refuse_strangers(m3ter, row, account["id"], site)
                return AlreadyTrue(account["id"])
    return Send(requests.create_account(m3ter.organization_id, {**payload, "customFields": site.marked(None)}))


def _change_account(m3ter: M3terClient, row: IntentRow, payload: dict[str, Any], site: Site) -> Send | AlreadyTrue:
    """The account as wanted, with its site; for that alone only one that is adopted is written."""
    current = m3ter.account(payload["id"])
    _refuse_other_site(row, current, site)
    mark = {"customFields": site.marked(current.get("customFields"))}
    if row.action == "adopt":
        payload = {**payload, **mark}
    org = m3ter.organization_id
    return _overlay(current, payload, lambda body: requests.update_account(org, current["id"], {**body, **mark}))


def _refuse_other_site(row: IntentRow, account: Mapping[str, Any], site: Site) -> None:
    other = site.other(account)
    if other is not None:
        message = f"customer {row.key[0]}: account {account['id']} is a customer's of site {other}, not of {site.name}"
        raise RecordRefused("MB-ACCOUNT-CLASH", message, key=row.key[0])


def _refuse_strangers(m3ter: M3terClient, row: IntentRow, account_id: str, site: Site) -> None:
    """An account that is mapped to somebody else is not what an earlier try of ours made: it had the code before."""
    mapped = {
        one.external_id
        for one in m3ter.mappings_of("Account", account_id)
        if (one.external_system, one.external_table) == ("Chargebee", "Customer")
    }
    if mapped and site.given(row.key[0]) not in mapped:
        message = f"customer {row.key[0]}: account {account_id} is mapped to customer {', '.join(sorted(mapped))}"
        raise RecordRefused("MB-ACCOUNT-CLASH", message, key=row.key[0])


def _start_account_plan(
    m3ter: M3terClient, row: IntentRow, payload: dict[str, Any], *, look: bool
) -> Send | AlreadyTrue:
    if look:
        for plan in m3ter.account_plans(payload["accountId"]):
            if plan.get("code") == payload["code"]:
                return AlreadyTrue(plan["id"], plan)
    if row.action == "create":
        return Send(requests.create_account_plan(m3ter.organization_id, payload))
    body = {name: value for name, value in payload.items() if name != "id"}
    return Send(requests.replace_account_plan(m3ter.organization_id, payload["id"], body))


def _overlay(
    current: dict[str, Any], payload: Mapping[str, Any], render: Callable[[dict[str, Any]], Request]
) -> Send | AlreadyTrue:
    """Lay the wanted fields over the whole object, because PUT replaces; None takes a field away."""
    wanted = {name: value for name, value in payload.items() if name != "id"}
    if all(_same(current.get(name), value) for name, value in wanted.items()):
        return AlreadyTrue(current["id"], current)
    merged = {**current, **wanted}
    body = {name: value for name, value in merged.items() if value is not None and name not in READ_ONLY}
    return Send(render(body))


def _same(current: Any, wanted: Any) -> bool:
    if isinstance(current, str) and isinstance(wanted, str) and current != wanted:
        return _instant_text(current) == _instant_text(wanted)
    if isinstance(current, Mapping) and isinstance(wanted, Mapping):
        return all(_same(current.get(name), value) for name, value in wanted.items())
    return bool(current == wanted)


def _instant_text(text: str) -> str:
    """RFC 3339 in one spelling: m3ter adds milliseconds."""
    return text.removesuffix("Z").removesuffix(".000")


def _delete(m3ter: M3terClient, path: str, remote_id: str, render: Callable[[str, str], Request]) -> Send | AlreadyTrue:
    if m3ter.get_or_none(path + remote_id) is None:
        return AlreadyTrue(remote_id)
    return Send(render(m3ter.organization_id, remote_id))


def _create_mapping(m3ter: M3terClient, payload: Mapping[str, Any], *, look: bool) -> Send | AlreadyTrue:
    if look:
        found = _mapping_id(m3ter, payload)
        if found is not None:
            return AlreadyTrue(found)
    return Send(requests.create_mapping(m3ter.organization_id, payload))


def _point_mapping(m3ter: M3terClient, payload: Mapping[str, Any], mapping_id: str | None) -> Send | AlreadyTrue:
    """Point a mapping elsewhere; one that somebody took away is made anew."""
    current = m3ter.get_or_none(path("externalmappings", mapping_id)) if mapping_id else None
    if current is None:
        return _create_mapping(m3ter, payload, look=True)
    return _overlay(current, payload, lambda body: requests.update_mapping(m3ter.organization_id, current["id"], body))


def _mapping_id(m3ter: M3terClient, payload: Mapping[str, Any]) -> str | None:
    found = m3ter.mappings_for(payload["externalSystem"], payload["externalTable"], payload["externalId"])
    ours = [m.id for m in found if m.m3ter_entity == payload["m3terEntity"] and m.m3ter_id == payload["m3terId"]]
    return ours[0] if ours else None
