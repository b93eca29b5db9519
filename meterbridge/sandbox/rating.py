"""m3ter's rating: measurements and prices become bill lines. Decimals only, nothing rounded before the last step.

The order of the steps is a modelling choice: m3ter documents what the figures mean, not where it rounds.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.exact_json import plain
from meterbridge.sandbox.m3ter.account_plans import interval
from meterbridge.sandbox.m3ter.state import M3terState, Measurement
from meterbridge.sandbox.table import Row

_ZERO = Decimal(0)
# Amounts of 22 digits times prices of 15 must not lose one.
_CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_UP)
_UNIT_ROUNDING = {
    "UP": decimal.ROUND_UP,
    "DOWN": decimal.ROUND_DOWN,
    "NEAREST": decimal.ROUND_HALF_UP,
}


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end) in epoch milliseconds, and the period that follows (for charges in advance)."""

    start: int
    end: int
    next_end: int


class MissingConversion(Exception):
    """No rate from the plan's currency to the bill's: the bill is not generated."""


def rate_account(state: M3terState, account_plans: Iterable[Row], period: Period, currency: str) -> list[Row]:
    """The lines of a bill, without ids, in the order of the account plans' starts.

    Raises:
        MissingConversion: A plan's currency cannot be converted.
    """
    with decimal.localcontext(_CONTEXT):
        lines: list[Row] = []
        for account_plan in sorted(account_plans, key=lambda each: (each["startDate"], each["id"])):
            lines += _rate_account_plan(state, account_plan, period, currency)
        return [{"sequenceNumber": number} | line for number, line in enumerate(lines, 1)]


def total(lines: Iterable[Row]) -> Decimal:
    with decimal.localcontext(_CONTEXT):
        return plain(sum((Decimal(line["convertedSubtotal"]) for line in lines), _ZERO))


def _rate_account_plan(state: M3terState, account_plan: Row, period: Period, currency: str) -> list[Row]:
    plan = state.plans.get(account_plan["planId"]) or {}
    template = state.plan_templates.get(plan["planTemplateId"]) or {}
    product = state.products.get(plan["productId"]) or {}
    charge = _Charge(state, account_plan, plan, template, product, currency)
    start, end = interval(account_plan)
    lines = []
    in_advance = _inherited(plan, template, "standingChargeBillInAdvance", False)
    billed = (period.end, period.next_end) if in_advance else (period.start, period.end)
    standing = charge.standing(max(start, billed[0]), min(end, billed[1]), billed)
    if standing is not None:
        lines.append(standing)
    first, last = max(start, period.start), min(end, period.end)
    if first < last:
        usage = charge.usage(first, last)
        lines += usage
        minimum = charge.minimum(usage, first, last)
        if minimum is not None:
            lines.append(minimum)
    return lines


@dataclass(frozen=True, slots=True)
class _Charge:
    """What all lines of one account plan share."""

    state: M3terState
    account_plan: Row
    plan: Row
    template: Row
    product: Row
    currency: str

    def standing(self, first: int, last: int, whole: tuple[int, int]) -> Row | None:
        """Prorated by time; None when there is no standing charge or no day of it."""
        amount = Decimal(_inherited(self.plan, self.template, "standingCharge", 0))
        if amount == 0 or first >= last:
            return None
        if (first, last) != whole:
            amount = amount * (last - first) / (whole[1] - whole[0])
        text = _inherited(self.plan, self.template, "standingChargeDescription", f"{self.plan['name']} standing charge")
        return self.line("STANDING_CHARGE", text, amount, first, last)

    def usage(self, first: int, last: int) -> list[Row]:
        pricings = self.state.pricings.find("planId", self.plan["id"])
        pricings += self.state.pricings.find("planTemplateId", self.template["id"])
        lines = []
        for pricing in pricings:
            start, end = interval(pricing)
            if "aggregationId" in pricing and max(start, first) < min(end, last):
                lines.append(self._priced(pricing, max(start, first), min(end, last)))
        return lines

    def _priced(self, pricing: Row, first: int, last: int) -> Row:
        aggregation = self.state.aggregations.get(pricing["aggregationId"]) or {}
        meter = self.state.meters.get(aggregation["meterId"]) or {}
        rows = self.state.usage.rows.get((self.account_plan["accountId"], meter["code"]), [])
        chosen = [row for row in rows if first <= row.ts_ms < last and _in_segment(row, pricing.get("segment"))]
        quantity = aggregate(aggregation["aggregation"], aggregation["targetField"], chosen)
        units = _units(quantity, Decimal(aggregation["quantityPerUnit"]), aggregation["rounding"])
        amount, bands = price(units, pricing["pricingBands"], cumulative=pricing["cumulative"])
        for band in bands:
            band["bandQuantity"] = plain(band["bandUnits"] * Decimal(aggregation["quantityPerUnit"]))
        kind = "USAGE" if pricing["type"] == "DEBIT" else "USAGE_CREDIT"
        line = self.line(kind, pricing.get("description") or aggregation["name"], amount, first, last)
        line |= {
            "quantity": plain(quantity),
            "units": plain(units),
            "unit": aggregation["unit"],
            "averageUnitPrice": plain(amount / units) if units else _ZERO,
            "pricingId": pricing["id"],
            "aggregationId": aggregation["id"],
            "meterId": meter["id"],
            "usagePerPricingBand": bands,
        }
        if pricing.get("segment"):
            line["segment"] = pricing["segment"]
        if kind == "USAGE_CREDIT":
            line |= {"subtotal": -line["subtotal"], "convertedSubtotal": -line["convertedSubtotal"]}
        return line

    def minimum(self, usage: list[Row], first: int, last: int) -> Row | None:
        least = Decimal(_inherited(self.plan, self.template, "minimumSpend", 0))
        lacking = least - sum((line["subtotal"] for line in usage), _ZERO)
        if lacking <= 0:
            return None
        text = _inherited(self.plan, self.template, "minimumSpendDescription", f"{self.plan['name']} minimum spend")
        return self.line("MINIMUM_SPEND", text, lacking, first, last)

    def line(self, kind: str, description: str, amount: Decimal, first: int, last: int) -> Row:
        rate = _conversion(self.state, self.template["currency"], self.currency)
        return {
            "lineItemType": kind,
            "description": description,
            "quantity": Decimal(1),
            "units": Decimal(1),
            "unit": "month",
            "averageUnitPrice": plain(amount),
            "subtotal": plain(amount),
            "currency": self.template["currency"],
            "conversionRate": rate,
            "convertedSubtotal": plain(_rounded(self.state, amount * rate, self.currency)),
            "productId": self.product["id"],
            "productName": self.product["name"],
            "productCode": self.product["code"],
            "accountingProductId": self.product["id"],
            "accountingProductName": self.product["name"],
            "accountingProductCode": self.product["code"],
            "planId": self.plan["id"],
            "servicePeriodStartDate": rfc3339(first),
            "servicePeriodEndDate": rfc3339(last),
        }


def aggregate(how: str, name: str, rows: list[Measurement]) -> Decimal:
    """One number out of the measurements of a period; 0 when there are none."""
    if how == "COUNT":
        return Decimal(len(rows))
    if how == "UNIQUE":
        return Decimal(len({row.texts[name] for row in rows if name in row.texts}))
    values = [row.measures[name] for row in sorted(rows, key=lambda row: row.ts_ms) if name in row.measures]
    if not values:
        return _ZERO
    match how:
        case "MAX":
            return max(values)
        case "MIN":
            return min(values)
        case "LATEST":
            return values[-1]
        case "MEAN":
            return sum(values, _ZERO) / len(values)
    return sum(values, _ZERO)


def price(units: Decimal, bands: list[Row], *, cumulative: bool) -> tuple[Decimal, list[Row]]:
    """Tiered when cumulative, else all units at the highest band reached; and what each band took."""
    ordered = sorted(bands, key=lambda band: Decimal(band["lowerLimit"]))
    reached = [band for band in ordered if units > Decimal(band["lowerLimit"])]
    if not reached:
        return _ZERO, []
    spans = reached if cumulative else reached[-1:]
    used = []
    amount = _ZERO
    for position, band in enumerate(spans):
        low = Decimal(band["lowerLimit"]) if cumulative else _ZERO
        high = Decimal(spans[position + 1]["lowerLimit"]) if position + 1 < len(spans) else units
        subtotal = (high - low) * Decimal(band["unitPrice"]) + Decimal(band["fixedPrice"])
        amount += subtotal
        taken = {"bandUnits": plain(high - low), "bandSubtotal": plain(subtotal)}
        used.append({name: band[name] for name in ("lowerLimit", "fixedPrice", "unitPrice")} | taken)
    return amount, used


def _units(quantity: Decimal, per_unit: Decimal, rounding: str) -> Decimal:
    units = quantity / per_unit
    return units if rounding == "NONE" else units.quantize(Decimal(1), rounding=_UNIT_ROUNDING[rounding])


def _in_segment(row: Measurement, segment: Row | None) -> bool:
    return not segment or all(row.texts.get(name) == value for name, value in segment.items())


def _inherited(plan: Row, template: Row, name: str, default: Any) -> Any:
    value = plan.get(name, template.get(name))
    return default if value is None else value


def _conversion(state: M3terState, source: str, target: str) -> Decimal:
    if source == target:
        return Decimal(1)
    for rate in state.organization.get("currencyConversions", []):
        if (rate["from"], rate["to"]) == (source, target):
            return Decimal(rate["multiplier"])
    raise MissingConversion(f"no conversion from {source} to {target}")


def _rounded(state: M3terState, amount: Decimal, currency: str) -> Decimal:
    rows = state.currencies.find("code", currency)
    places = rows[0].get("maxDecimalPlaces") if rows else None
    mode = rows[0].get("roundingMode", "HALF_UP") if rows else "HALF_UP"
    if places is None or mode == "UNNECESSARY":
        return amount
    return amount.quantize(Decimal(1).scaleb(-places), rounding=f"ROUND_{mode}")
