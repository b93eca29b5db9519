"""What a run proposed and nobody has approved yet: in its report, as an artifact, as an event."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from meterbridge.ledger import proposals
from meterbridge.rules.gate import GATED, Name
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.money import amount_text
from meterbridge.staging.database import Staging, opened
from tasks.runs import Run
from tasks.services import services

EVENT = "meterbridge.bills.awaiting-approval"
SHOWN_CUSTOMERS = 500

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One write that waits; ``amount`` in minor units."""

    bill_id: str
    customer_id: str
    currency: str
    amount: int
    why: str
    words: str


def awaiting(run: Run, change_set: str) -> list[Row]:
    """What awaits approval under a hash, as the report shows it: one row a currency, with the reasons."""
    if not change_set:
        return []
    with opened(run.path) as file:
        lines = _lines(file, _unapproved(run, change_set))
    by_currency: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_currency[line.currency].append(line)
    return [as_row(change_set, currency, own) for currency, own in sorted(by_currency.items())]


def as_row(change_set: str, currency: str, lines: Iterable[Line]) -> Row:
    """Count and sum of what awaits approval in one currency; ``amount`` in minor units."""
    lines = list(lines)
    return {
        "change_set": change_set,
        "currency": currency,
        "count": len(lines),
        "amount": sum(line.amount for line in lines),
        "bills": len({line.bill_id for line in lines}),
        "why": {line.why: line.words for line in lines},
    }


def _unapproved(run: Run, change_set: str) -> set[Name] | None:
    """Kinds and keys that are proposed in the ledger; None in a dry run, which records nothing."""
    if run.request.dry_run:
        return None
    with services(run.run_id).ledger.read() as rx:
        members = proposals.members(rx, change_set)
    return {(row.kind, row.key) for row in members if row.state == "proposed"}


def _lines(file: Staging, waiting: set[Name] | None) -> list[Line]:
    customers = {row["id"]: row["customer_id"] for row in file.rows("select id, customer_id from stg_bills")}
    rows = file.rows("select * from out_intents where proposed is not null order by rowid")
    return [
        Line(
            bill_id=key_from_text(row["key"])[0],
            customer_id=customers.get(key_from_text(row["key"])[0], ""),
            currency=row["currency"] or "",
            amount=int(row["amount"] or 0),
            why=row["proposed"],
            words=row["proposed_words"],
        )
        for row in rows
        if row["kind"] in GATED and (waiting is None or (row["kind"], key_from_text(row["key"])) in waiting)
    ]


def announce(run: Run, rows: list[Row]) -> None:
    """Tell of it in Prefect: the change set by customer as an artifact and, when it is recorded, an event."""
    with opened(run.path) as file:
        lines = _lines(file, _unapproved(run, rows[0]["change_set"]))
    key = f"{run.flow}-{run.connection}-awaiting-approval".replace("_", "-")
    create_markdown_artifact(proposal_text(rows, lines), key=key, description="What awaits a person's approval.")
    if not run.request.dry_run:
        change_set = rows[0]["change_set"]
        resource = {
            "prefect.resource.id": f"meterbridge.change-set.{change_set}",
            "prefect.resource.name": f"change set {change_set}",
            "meterbridge.connection": run.connection,
        }
        emit_event(EVENT, resource, payload={"flow_run_id": run.flow_run_id, "awaiting_approval": rows})


def proposal_text(rows: list[Row], lines: Iterable[Line]) -> str:
    """The change set as Markdown: per currency, and per customer; ids and amounts only."""
    change_set = rows[0]["change_set"]
    text = [f"# Change set `{change_set}` awaits approval", ""]
    text += ["| currency | writes | bills | total | why |", "|---|---:|---:|---:|---|"]
    for row in rows:
        cells = [row["currency"], str(row["count"]), str(row["bills"]), amount_text(row["amount"], row["currency"])]
        text.append(f"| {' | '.join(cells)} | {'; '.join(row['why'].values())} |")
    text += ["", f"Approve it with `meterbridge approve {change_set} --by NAME`, or with the form of the"]
    text += ["deployment `approve_bills`. What has changed by then is not sent and is proposed again.", ""]
    text += ["| customer | bills | writes | total | why |", "|---|---:|---:|---:|---|"]
    by_customer = _by_customer(lines)
    for (customer_id, currency), own in list(by_customer.items())[:SHOWN_CUSTOMERS]:
        total = amount_text(sum(line.amount for line in own), currency)
        bills = len({line.bill_id for line in own})
        why = ", ".join(dict.fromkeys(line.why for line in own))
        text.append(f"| `{customer_id}` | {bills} | {len(own)} | {total} | {why} |")
    if len(by_customer) > SHOWN_CUSTOMERS:
        text.append(f"\nThe largest {SHOWN_CUSTOMERS} of {len(by_customer)}; the staging file has every row.")
    return "\n".join(text) + "\n"


def _by_customer(lines: Iterable[Line]) -> Mapping[tuple[str, str], list[Line]]:
    """The largest sums first."""
    found: dict[tuple[str, str], list[Line]] = defaultdict(list)
    sums: Counter[tuple[str, str]] = Counter()
    for line in lines:
        found[line.customer_id, line.currency].append(line)
        sums[line.customer_id, line.currency] += line.amount
    return {name: found[name] for name in sorted(found, key=lambda name: (-abs(sums[name]), name))}
