"""/accounts."""

from __future__ import annotations

import hashlib

from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.m3ter.state import M3terState
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

_ADDRESS_LONGEST = {
    "addressLine1": 50,
    "addressLine2": 50,
    "addressLine3": 250,
    "addressLine4": 250,
    "locality": 100,
    "region": 50,
    "postCode": 20,
    "country": 100,
}


def _address(value: object) -> str | None:
    if not isinstance(value, dict):
        return "must be an object"
    for name, part in value.items():
        if name not in _ADDRESS_LONGEST:
            return f"{name} is not a part of an address"
        if not isinstance(part, str) or len(part) > _ADDRESS_LONGEST[name]:
            return f"{name} must be a text of at most {_ADDRESS_LONGEST[name]} characters"
    return None


def _complete(call: Call, row: Row, before: Row | None) -> Row:
    state, folded = call.state, row["code"].casefold()
    holder = state.account_ids_by_folded_code.get(folded)
    if holder is not None and (before is None or holder != before["id"]):
        status = call.world.switches.duplicate_code_status
        raise refusal(status, f"code: {row['code']} is used by another Account")
    currency = row.get("currency")
    if currency is not None and not state.currencies.find("code", currency):
        raise refusal(400, f"currency: {currency} is not defined")
    _check_parent(call, row, before)
    if before is None:
        row = {"id": _new_id(state, row["code"])} | row
    else:
        state.account_ids_by_folded_code.pop(before["code"].casefold(), None)
    state.account_ids_by_folded_code[folded] = before["id"] if before else row["id"]
    return row


def _new_id(state: M3terState, code: str) -> str:
    """An id that no account ever had: one that was deleted and is made again gets another."""
    found = state.ids.uuid("Account", code)
    again = 0
    while state.accounts.had(found):
        again += 1
        found = state.ids.uuid("Account", code, again)
    return found


def _check_parent(call: Call, row: Row, before: Row | None) -> None:
    parent_id = row.get("parentAccountId")
    seen = {before["id"]} if before else set()
    while parent_id is not None:
        parent = call.state.accounts.get(parent_id)
        if parent is None:
            raise refusal(400, f"parentAccountId: {parent_id} does not exist")
        if parent_id in seen:
            raise refusal(400, "parentAccountId: an account cannot be its own ancestor")
        seen.add(parent_id)
        parent_id = parent.get("parentAccountId")


def _may_go(call: Call, row: Row) -> None:
    if call.state.account_plans.find("accountId", row["id"]):
        raise refusal(400, "the account has account plans")
    call.state.account_ids_by_folded_code.pop(row["code"].casefold(), None)


ACCOUNT = entities.Kind(
    path="accounts",
    name="Account",
    table=lambda state: state.accounts,
    fields={
        "name": fields.text(1, 200),
        "code": fields.code,
        "emailAddress": fields.email,
        "address": _address,
        "parentAccountId": fields.uuid,
        "currency": fields.identifier,
        "billEpoch": fields.day,
        "daysBeforeBillDue": fields.integer(1),
        "purchaseOrderNumber": fields.text(0, 100),
        "creditApplicationOrder": fields.list_of(0, 2),
        "statementDefinitionId": fields.uuid,
        "autoGenerateStatementMode": fields.one_of("NONE", "JSON", "JSON_AND_CSV"),
        "customFields": fields.custom_fields,
    },
    required=("name", "code", "emailAddress"),
    event="configuration.account",
    filters={"ids": "id", "codes": "code"},
    unique_code=False,  # its own rule: codes that differ only in case clash
    complete=_complete,
    may_go=_may_go,
)
entities.register(routes, ACCOUNT)


@routes.get("/accounts/{id}/children", *PAGING)
def children(call: Call, account_id: str) -> Row:
    call.existing(call.state.accounts, account_id, "Account")
    return answer_page(call, Selection(call.state.accounts, ("parentAccountId", [account_id]), most=200))


def auto_created(state: M3terState, code: str) -> Row:
    """The skeleton that usage for an unknown code makes: the code is the code, the marker is in the name."""
    mail = hashlib.sha256(code.encode()).hexdigest()[:16]
    account = {
        "id": state.ids.uuid("Account", code),
        "name": f"{code}-autocreated",
        "code": code,
        "emailAddress": f"{mail}-autocreated@example.com",
    }
    state.account_ids_by_folded_code[code.casefold()] = account["id"]
    return entities.insert(state, ACCOUNT, account)
