"""Accounts of nobody that look like customers without one: read so that a run's cost grows with what is new.

A full run has every account in hand. Any other asks the ledger, which keeps hashes of what accounts look like, brings
them up to date with the newest page of m3ter's list (newest first), and reads again what fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.chargebee.encoding import id_filters
from meterbridge.ledger import account_digests, mappings
from meterbridge.ledger.account_digests import AccountDigest
from meterbridge.rules.accounts import excluded
from meterbridge.rules.similar import digest
from meterbridge.staging.database import Staging
from tasks.land_accounts import digest_of, land_accounts, land_belongings, land_mappings
from tasks.runs import Run
from tasks.services import Services, services

TWIN = "MB-ACCOUNT-TWIN"

PLAIN = (
    "select id, name, email from stg_customers where not deleted and list_contains($unknown, id) "
    "and lower(id) not in (select lower(own) from raw_m3ter__accounts "
    "where name is distinct from code || '-autocreated') and id not in ("
    "select externalId from raw_m3ter__external_mappings where m3terEntity = 'Account' and externalTable = 'Customer')"
)
"""Customers for whom neither a code nor a mapping names an account, but perhaps a skeleton's code."""


ONLY_ONES = (
    "select account_id from int_alike as a where not exists (select 1 from int_alike as above "
    "where above.account_id = a.parent_id and above.customer_id = a.customer_id) "
    "qualify count(*) over (partition by account_id) = 1 and count(*) over (partition by customer_id) = 1"
)
"""Accounts that may be adopted: alone for their customer, child accounts not counted, and that one's alone."""


def find_similar(run: Run, file: Staging, unknown: Sequence[str], every: Sequence[AccountDigest] | None = None) -> None:
    """Land what tells whether an account of nobody is an unknown customer's.

    Args:
        unknown: Customers that the ledger does not know and that may get an account.
        every: All accounts of the organisation, where they have landed.
    """
    work = services(run.run_id)
    if work.settings.on_similar_account == "create":
        return
    if every is not None and not run.request.dry_run:
        _keep(work, every, whole=True)
    if run.full:
        _land_customers(file, file.rows("select id, name, email from stg_customers where not deleted"))
        return
    plain = [row for row in file.rows(PLAIN, {"unknown": list(unknown)}) if excluded(row["id"], work.settings) is None]
    _land_customers(file, plain)
    if plain and every is None:
        _find_some(work, run, file)
    elif plain and every is not None and (fitting := sorted(_fitting(file, every))):
        _know_others(work, file, list(work.m3ter.accounts(ids=fitting)))


def _land_customers(file: Staging, rows: Iterable[dict[str, str | None]]) -> None:
    marks = ({"id": row["id"], "email": digest(row["email"]), "name": digest(row["name"])} for row in rows)
    file.land_rows("ref_customer_digests", marks)


def _find_some(work: Services, run: Run, file: Staging) -> None:
    """Read the accounts that look like the landed customers, and what hangs on those that may be adopted."""
    emails, names = _marks(file)
    with work.ledger.read() as rx:
        fitting = account_digests.like(rx, emails, names)
    fresh = _newest(work)
    fitting |= _fitting(file, fresh)
    if fresh and not run.request.dry_run:
        _keep(work, fresh)
    there = {row["id"] for row in file.rows("select id from raw_m3ter__accounts")}
    candidates = sorted(fitting - there)
    if candidates:
        accounts = list(work.m3ter.accounts(ids=candidates))
        land_accounts(work, file, accounts)
        land_mappings(work, file, candidates)
        _know_others(work, file, accounts)
        file.make("subscriptions", "int_alike")
        land_belongings(work, file, _to_adopt(work, file))


def _marks(file: Staging) -> tuple[set[str], set[str]]:
    """Hashes of the landed customers' e-mails, and of their names."""
    marks = list(file.rows("select email, name from ref_customer_digests"))
    return {row["email"] for row in marks if row["email"]}, {row["name"] for row in marks if row["name"]}


def _fitting(file: Staging, accounts: Iterable[AccountDigest]) -> set[str]:
    """Those of the accounts that look like a landed customer."""
    emails, names = _marks(file)
    return {one.id for one in accounts if one.email in emails or one.name in names}


def _know_others(work: Services, file: Staging, accounts: Sequence[Mapping[str, Any]]) -> None:
    """What speaks for somebody else, where not every customer has been read."""
    _land_holders(work, file, [str(one["id"]) for one in accounts], [str(one["code"]) for one in accounts])
    if work.settings.on_similar_account == "adopt":
        emails_there = {str(one["emailAddress"]) for one in accounts if one.get("emailAddress")}
        _land_others(work, file, sorted(emails_there), sorted({str(one["name"]) for one in accounts}))


def _newest(work: Services) -> list[AccountDigest]:
    """Accounts made since the ledger last looked; all of them if it never did."""
    fresh: list[AccountDigest] = []
    for page in work.m3ter.list("/accounts"):
        with work.ledger.read() as rx:
            known = account_digests.known(rx, [row["id"] for row in page])
        fresh += [digest_of(row) for row in page if row["id"] not in known]
        if page and page[-1]["id"] in known:
            break
    return fresh


def _keep(work: Services, seen: Sequence[AccountDigest], *, whole: bool = False) -> None:
    with work.ledger.write() as tx:
        if whole:
            account_digests.clear(tx)
        account_digests.put(tx, seen)
        tx.commit()


def _land_holders(work: Services, file: Staging, candidates: Sequence[str], codes: Sequence[str]) -> None:
    """Which of the accounts are somebody's by the ledger, or have a customer's id as their code."""
    with work.ledger.read() as rx:
        taken = mappings.holders(rx, "account", candidates)
    file.land_rows("ref_taken_accounts", ({"id": one} for one in sorted(taken)))
    holders = {
        entry["customer"]["id"].casefold()
        for some in id_filters("id", codes)
        for entry in work.chargebee.rows("customers", some, sort_by="created_at")
    }
    rows = file.rows("select id, code from raw_m3ter__accounts")
    theirs = [row["id"] for row in rows if row["code"].casefold() in holders and row["id"] in candidates]
    file.land_rows("ref_taken_accounts", ({"id": one} for one in theirs))


def _land_others(work: Services, file: Staging, emails: Sequence[str], names: Sequence[str]) -> None:
    """Other customers that the accounts look like: then they are not adopted for one of them."""
    there = {row["id"] for row in file.rows("select id from ref_customer_digests")}
    for some in (*id_filters("email", emails), *id_filters("company", names)):
        for entry in work.chargebee.rows("customers", some, sort_by="created_at"):
            customer = entry["customer"]
            if customer["id"] not in there:
                there.add(customer["id"])
                row = {"id": customer["id"], "email": customer.get("email"), "name": customer.get("company")}
                _land_customers(file, [row])


def _to_adopt(work: Services, file: Staging) -> list[str]:
    """Accounts that this run may adopt: those mapped by hand meanwhile and, where the setting says so, those alike."""
    mapped = (
        "select m3terId as id from raw_m3ter__external_mappings where m3terEntity = 'Account' "
        "and externalTable = 'Customer' and externalId in (select id from ref_customer_digests)"
    )
    alike = ONLY_ONES if work.settings.on_similar_account == "adopt" else "select null"
    return [row["id"] for row in file.rows(f"select id from ({mapped} union {alike}) where id is not null order by 1")]
