"""The words on a charge: what the customer reads on the invoice, and why we intend it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from meterbridge.errors import SetupError
from meterbridge.rules.bill_lines import Charge
from meterbridge.rules.money import exact_sum, plain
from meterbridge.rules.records import BillLine
from meterbridge.rules.windows import inclusive_end

DESCRIPTION_LENGTH = 250
"""Chargebee's longest line description."""


def describe(charge: Charge, template: str, reference: str) -> str:
    """Render a charge's description, at most 250 characters, ending in the reference in brackets.

    The template may name product, plan, aggregation, segment, description,
    quantity (rated units, which ``unit`` names), unit, start and end (UTC
    days, both inclusive). A line that belongs to the bill and to no plan keeps its own words.

    Raises:
        SetupError: MB-SETTING, when the template names anything else.
    """
    first = charge.lines[0]
    if first.description and not any(line.plan_id for line in charge.lines):
        return _marked(" ".join(first.description.split()), reference)
    quantity, unit = _quantity(charge.lines)
    try:
        text = template.format(
            product=first.product_name or first.product_code or first.description or first.line_item_type,
            plan=first.plan_code or "",
            aggregation=first.aggregation_code or first.compound_aggregation_code or "",
            segment=", ".join(f"{name}={value}" for name, value in sorted(first.segment.items())),
            description=first.description,
            quantity=quantity,
            unit=unit,
            start=charge.start.astimezone(UTC).date().isoformat(),
            end=last_day(charge),
        )
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise SetupError("MB-SETTING", f"charge_description cannot be filled in: {error}") from error
    text = " ".join(text.split())
    if not quantity:
        text = text.replace(" ,", ",").replace(":,", ",")
    return _marked(text, reference)


def describe_correction(charge: Charge, reference: str) -> str:
    """The words on a line that brings what an earlier invoice had too little."""
    first = charge.lines[0]
    subject = first.product_name or first.product_code or first.description or first.line_item_type
    days = f"{charge.start.astimezone(UTC).date().isoformat()}–{last_day(charge)}"
    return _marked(" ".join(f"Correction: {subject}, {days}".split()), reference)


def _marked(text: str, reference: str) -> str:
    return _ending(text, f" [{reference}]")


def _ending(text: str, tail: str) -> str:
    """The text with its tail; the tail is never cut off."""
    room = DESCRIPTION_LENGTH - len(tail)
    return f"{text[: room - 1].rstrip()}…{tail}" if len(text) > room else text + tail


MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def month_of(instant: datetime) -> str:
    """The UTC month in words, such as ``March 2026``."""
    there = instant.astimezone(UTC)
    return f"{MONTHS[there.month - 1]} {there.year}"


def with_remark(text: str, reference: str, remark: str) -> str:
    """The words on a charge with a remark before the reference; the remark is never cut off."""
    mark = f" [{reference}]"
    return _ending(text.removesuffix(mark), f"; {remark}{mark}")


def last_day(charge: Charge) -> str:
    """The last UTC day of the charge's service period."""
    return max(inclusive_end(charge.end), charge.start).astimezone(UTC).date().isoformat()


def name_charge(charge: Charge) -> str:
    """Type, subject and days of a charge, for reasons and messages."""
    first = charge.lines[0]
    types = ", ".join(dict.fromkeys(line.line_item_type for line in charge.lines))
    subject = first.aggregation_code or first.compound_aggregation_code or first.product_code or first.description
    return f"{types} {subject} {charge.start.astimezone(UTC).date().isoformat()}..{last_day(charge)}"


def _quantity(lines: Sequence[BillLine]) -> tuple[str, str]:
    """Rated units and their name; both empty where the lines count different things."""
    units = {line.unit for line in lines}
    if len(units) > 1:
        return "", ""
    return plain(exact_sum([line.units for line in lines])), units.pop()
