"""Faults on purpose in our own code: with each of them the matrix must turn red."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter.client import M3terClient
from connectors.transport import Answer, Request
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules import placing, portions
from meterbridge.rules.keys import canonical
from meterbridge.rules.records import BillLine
from tasks import write_charges, write_m3ter
from tasks.write_protocol import Send


def _no_idempotency_key() -> None:
    def send(
        self: ChargebeeClient, request: Request, *, idempotency_key: str, resend_until: float, in_doubt: bool = False
    ) -> Answer:
        del idempotency_key, in_doubt
        return self.transport.send(request, repeatable=True, resend_until=resend_until)

    ChargebeeClient.send = send  # type: ignore[method-assign]


def _resend_without_probing() -> None:
    prepare = write_m3ter.prepare

    def blind(m3ter: M3terClient, row: IntentRow, resolve: Any, *, look: bool, site: Any) -> Any:
        del look
        return prepare(m3ter, row, resolve, look=row.action == "adopt", site=site)

    def resend(self: Any, row: IntentRow, invoice: Any) -> Send:
        del self, invoice
        return Send(write_charges.render(row))

    write_m3ter.prepare = blind
    write_charges.Charges._probe = resend  # type: ignore[method-assign]


def _each_line_rounded_by_itself() -> None:
    def alone(amounts: Sequence[Decimal], exponent: int, *_: Any) -> list[int]:
        return [int((amount * 10**exponent).quantize(Decimal(1), ROUND_HALF_UP)) for amount in amounts]

    portions.round_lines = alone


def _lines_keyed_on_their_id() -> None:
    def identities(lines: Sequence[BillLine]) -> list[str]:
        return [canonical([line.id]) for line in lines]

    placing.identities = identities


MUTANTS: dict[str, Callable[[], None]] = {
    "no idempotency key": _no_idempotency_key,
    "resend without probing": _resend_without_probing,
    "each line rounded by itself": _each_line_rounded_by_itself,
    "lines keyed on their id": _lines_keyed_on_their_id,
}
