"""Which final invoice a draft became, as a table."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meterbridge.rules.booked import Wish
from meterbridge.rules.finals import Final, GoneDraft, OurLine, Several, find_final
from meterbridge.rules.records import Invoice, InvoiceLine

FROM = datetime(2026, 3, 1, tzinfo=UTC)
TO = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
DATE = datetime(2026, 4, 1, tzinfo=UTC)
LATER = datetime(2026, 4, 12, tzinfo=UTC)
DATES = (int(FROM.timestamp()), int(TO.timestamp()))

CALLS = OurLine(("b", "s", "1"), "li-1", Wish("adhoc", None, "mb:0123456789ab", *DATES, "s", 500))
ITEM = OurLine(("b", "s", "2"), "li-2", Wish("charge_item_price", "usage-EUR", "mb:other", *DATES, "s", 700))
DRAFT = GoneDraft("draft1", "EUR", DATE, (CALLS, ITEM))


def calls(name, amount=500):
    return InvoiceLine(name, "adhoc", None, "API [mb:0123456789ab]", FROM, TO, amount, "s")


def item(name, amount=700):
    return InvoiceLine(name, "charge_item_price", "usage-EUR", "Usage", FROM, TO, amount, "s")


def final(name, *lines, date=DATE, status="posted", currency="EUR", subscription="s"):
    return Invoice(name, status, "cust", subscription, currency, date, "tax_exclusive", lines)


@pytest.mark.parametrize(
    ("invoices", "expected"),
    [
        pytest.param([final("1", calls("li-1"), item("li-2"))], ("1", ["li-1", "li-2"]), id="ids-survived"),
        pytest.param([final("1", calls("x1"), item("x2"))], ("1", ["x1", "x2"]), id="ids-are-new"),
        pytest.param([final("1", item("li-2"))], ("1", ["li-2"]), id="one-was-taken-off"),
        pytest.param([final("1", calls("x1", 400), item("x2"))], ("1", ["x2"]), id="one-was-edited"),
        pytest.param(
            [final("1", calls("x1")), final("2", calls("y1"), item("y2"))], ("2", ["y1", "y2"]), id="most-lines"
        ),
        pytest.param([final("1", item("x2")), final("2", calls("li-1"))], ("2", ["li-1"]), id="an-id-outweighs-looks"),
        pytest.param(
            [final("1", calls("x1"), date=LATER), final("2", calls("y1"))], ("2", ["y1"]), id="its-date-decides"
        ),
        pytest.param([final("1", calls("x1"), date=LATER)], ("1", ["x1"]), id="dated-as-it-closed"),
        pytest.param([final("1", calls("x1")), final("2", calls("y1"))], ["1", "2"], id="two-fit-equally"),
        pytest.param([final("1")], ("1", []), id="by-subscription-and-date"),
        pytest.param([final("1"), final("2")], ["1", "2"], id="two-of-that-date"),
        pytest.param([final("1", date=LATER)], None, id="another-date-and-no-line"),
        pytest.param([final("1", subscription="other")], None, id="another-subscription"),
        pytest.param([final("1", calls("x1"), status="pending")], None, id="still-pending"),
        pytest.param([final("1", calls("x1"), status="deleted")], ("1", ["x1"]), id="deleted-after-it-closed"),
        pytest.param([final("1", status="deleted")], None, id="deleted-and-no-line"),
        pytest.param(
            [final("1", calls("li-1"), status="deleted"), final("2", calls("y1"))],
            ("2", ["y1"]),
            id="a-living-one-first",
        ),
        pytest.param([final("1", calls("x1"), status="voided")], ("1", ["x1"]), id="voided-after-it-closed"),
        pytest.param([final("1", calls("x1"), currency="USD")], None, id="another-currency"),
        pytest.param([], None, id="nothing-in-sight"),
    ],
)
def test_a_draft_finds_its_final(invoices, expected):
    match find_final(DRAFT, invoices):
        case Final(invoice, line_ids):
            found = (invoice.id, sorted(line_ids.values()))
        case Several(several):
            found = [one.id for one in several]
        case None:
            found = None
    assert found == expected


def test_two_equal_lines_find_two_lines():
    twin = replace(ITEM, key=("b", "s", "3"), line_id="li-3")
    found = find_final(replace(DRAFT, lines=(ITEM, twin)), [final("1", item("x1"), item("x2"))])
    assert sorted(found.line_ids.values()) == ["x1", "x2"]


def test_a_line_that_another_charge_owns_is_no_evidence():
    assert find_final(replace(DRAFT, lines=(ITEM,)), [final("1", item("x1"), date=LATER)], taken={"x1"}) is None


def test_an_invoice_that_the_ledger_knows_is_no_draft_s_final_by_date():
    assert find_final(DRAFT, [final("1")], known={"1"}) is None
