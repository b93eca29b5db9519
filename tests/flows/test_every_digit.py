"""An amount keeps every digit from the vendor's socket to the intent: no float on the way."""

from decimal import Decimal
from pathlib import Path

from meterbridge.staging.database import opened
from tests.flows.billed_month import BilledMonth

EXACT = "1234567890123.123456789"


def test_an_amount_of_22_digits_survives_from_the_socket_to_the_charge(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.recalculate(EXACT, "0.001543211")
    assert month.bill["billTotal"] == Decimal("1234567890123.125")
    report = month.charge()
    with opened(Path(report.staging), read_only=True) as file:
        staged = [row["amount"] for row in file.rows("select amount from stg_bill_lines order by sequence")]
    assert staged == [EXACT, "0.001543211"]
    # The sum is half a cent above: the total rounds up, and the first line lost most.
    assert month.ours() == [123456789012313]
