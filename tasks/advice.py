"""List the things that a person should do about a run, the most urgent first: for the report page and the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.errors import CODES
from meterbridge.rules.naming import Parts, parts_of
from meterbridge.rules.outcome import amounts, count_of, in_words, with_money
from tasks.report import RunReport, money

BY_CUSTOMER = "MB-NO-INVOICE"
"""An annual customer is told of it anew with each month's bill: it gets one row a customer, not one a bill."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record in words: its ids, its money, and what is known of it; ``below`` it what waits for it."""

    parts: Parts
    money: str
    message: str
    below: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do: what it is about, what helps, and the records that it concerns."""

    what: str
    remedy: str
    records: tuple[Record, ...] = ()
    code: str = ""


def advice(report: RunReport) -> list[Advice]:
    """Everything that asks for a person, in the order in which it is urgent; empty when nothing does."""
    return [
        *_closing(report.closing_soon),
        *_asked(report),
        *_aside(report.quarantined),
        *_overdue(report.waiting),
        *_stopped(report),
    ]


def _closing(rows: Sequence[Mapping[str, Any]]) -> Iterator[Advice]:
    if not rows:
        return
    records = tuple(
        Record(
            [*parts_of("charge", row["key"]), ("invoice", row["invoice_id"])],
            money(row),
            f"closes {row['closes_at'][:16].replace('T', ' ')} UTC, {row['state']} {row['code']}".strip(),
        )
        for row in rows
    )
    drafts = count_of(len({row["invoice_id"] for row in rows}), "draft")
    what = f"{in_words(amounts(rows))} missing on {drafts} closing soon"
    yield Advice(what, "Clear what holds the money before its draft closes; afterwards it needs another one.", records)


def _asked(report: RunReport) -> Iterator[Advice]:
    by_set: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in report.awaiting_approval:
        by_set[row["change_set"]].append(row)
    for change_set, rows in by_set.items():
        writes = count_of(sum(row["count"] for row in rows), "write")
        bills = count_of(sum(row["bills"] for row in rows), "bill")
        why = "; ".join(dict.fromkeys(words for row in rows for words in row["why"].values()))
        remedy = "A dry run proposes nothing: run it for real first."
        if not report.dry_run:
            remedy = f"`meterbridge approve {change_set} --by NAME`, or the form of the deployment `approve_bills`."
        yield Advice(f"{with_money(f'{writes} of {bills}', rows)}, await approval: {why}", remedy)


def _aside(rows: Sequence[Mapping[str, Any]]) -> Iterator[Advice]:
    """By reason, the most money first. What only waits for another record stands under it, for it follows by itself.

    Where that one is not among the rows it comes last.
    """
    below = _below(rows)
    followers = {id(row) for own in below.values() for row in own}
    by_code: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if id(row) not in followers:
            by_code[row["code"]].append(row)
    weight = {code: sum(abs(int(row.get("amount") or 0)) for row in own) for code, own in by_code.items()}
    for code in sorted(by_code, key=lambda name: (name == "MB-DEPENDS", -weight[name], name)):
        own = sorted(by_code[code], key=lambda row: -abs(int(row.get("amount") or 0)))
        known = CODES.get(code)
        what = with_money(count_of(len(own), "record"), own)
        groups = _by_customer(own) if code == BY_CUSTOMER else [[row] for row in own]
        records = tuple(_group(rows, [one for row in rows for one in below.get(_name(row), ())]) for rows in groups)
        yield Advice(f"{what}: {known.meaning if known else ''}".strip(), known.remedy if known else "", records, code)


def _by_customer(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The rows of each customer and currency together, the most money first; others alone."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        customer = row.get("customer_id")
        found[(customer, row.get("currency") or "") if customer else _name(row)].append(row)
    return sorted(found.values(), key=lambda own: -abs(sum(int(row.get("amount") or 0) for row in own)))


def _group(rows: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]]) -> Record:
    """One record of a customer's rows; of one row that one."""
    first = _record(rows[0], below)
    if len(rows) == 1:
        return first
    total = money({**rows[0], "amount": sum(int(row.get("amount") or 0) for row in rows)})
    bills, subscriptions = (len({row["key"][place] for row in rows}) for place in (0, 1))
    of = f"{count_of(bills, 'bill')} of {count_of(subscriptions, 'subscription')}"
    parts = [("customer", str(rows[0]["customer_id"]))]
    return Record(parts, total, f"{of}, the largest: {first.message}", first.below)


def _record(row: Mapping[str, Any], below: Sequence[Mapping[str, Any]]) -> Record:
    followers = tuple(Record(parts_of(one["kind"], one["key"]), money(one), "") for one in below)
    return Record(parts_of(row["kind"], row["key"]), money(row), row["message"], followers)


def _below(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Return the rows that wait for another one, directly or through others, by the name of that one."""
    needed = {_name(row): tuple(row["waits_for"]) for row in rows if row.get("waits_for")}
    names = {_name(row) for row in rows}
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        root, seen = _name(row), set[tuple[str, ...]]()
        while root in needed and root not in seen:
            seen.add(root)
            root = needed[root]
        if seen and root in names and root not in seen:
            found[root].append(row)
    return found


def _name(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["kind"], *row["key"])


def _overdue(rows: Sequence[Mapping[str, Any]]) -> Iterator[Advice]:
    late = [row for row in rows if row.get("overdue")]
    if late:
        records = tuple(Record(parts_of("charge", row["key"]), money(row), row["reason"]) for row in late)
        what = f"{with_money(count_of(len(late), 'record'), late)}: no invoice took it in time"
        yield Advice(
            what, "Create a pending invoice for the subscription, or `meterbridge bills mark-invoiced`.", records
        )


def _stopped(report: RunReport) -> Iterator[Advice]:
    if report.held:
        words = f"{count_of(report.held, 'write')} that another run has in hand, or that are on hold"
        yield Advice(words, CODES["MB-HELD"].remedy)
    if report.missing:
        words = f"{count_of(report.missing, 'record')} that an event named and Chargebee does not show"
        yield Advice(words, CODES["MB-MISSING"].remedy)
