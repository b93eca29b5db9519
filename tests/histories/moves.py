"""Everything that may happen to a customer in a step of its life."""

from __future__ import annotations

from collections.abc import Mapping

from tests.histories import at_chargebee, at_m3ter
from tests.histories.life import Move

MOVES: Mapping[Move, float] = {
    at_m3ter.use: 0.75,
    at_chargebee.change: 0.12,
    at_chargebee.undo_change: 0.04,
    at_chargebee.cancel: 0.05,
    at_chargebee.undo_cancellation: 0.05,
    at_chargebee.reactivate: 0.08,
    at_chargebee.subscribe: 0.05,
    at_chargebee.try_out: 0.03,
    at_chargebee.pause: 0.04,
    at_chargebee.resume: 0.15,
    at_chargebee.undo_pause: 0.05,
    at_chargebee.delete_subscription: 0.02,
    at_chargebee.rename: 0.05,
    at_chargebee.move_away: 0.01,
    at_chargebee.find_payer: 0.01,
    at_chargebee.lose_payer: 0.03,
    at_chargebee.close: 0.15,
    at_chargebee.void: 0.03,
    at_chargebee.delete_invoice: 0.02,
    at_chargebee.type_a_line: 0.06,
    at_chargebee.take_a_line_off: 0.03,
    at_chargebee.sweep: 0.2,
    at_chargebee.credit_note: 0.05,
    at_m3ter.bill: 0.35,
    at_m3ter.recalculate: 0.12,
    at_m3ter.memo: 0.05,
    at_m3ter.approve: 0.6,
    at_m3ter.unapprove: 0.05,
    at_m3ter.lock: 0.06,
    at_m3ter.delete_bill: 0.02,
}
"""What may happen in a step, in this order, and how often."""
