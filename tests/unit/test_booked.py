"""What became of a charge, as a table."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meterbridge.rules.booked import Absent, Booked, TooMany, Verdict, Wish, Wrong, judge
from meterbridge.rules.records import InvoiceLine

FROM = datetime(2026, 3, 1, tzinfo=UTC)
TO = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
WISH = Wish("adhoc", None, "mb:0123456789ab", int(FROM.timestamp()), int(TO.timestamp()), "sub-1", 4124)
OURS = InvoiceLine("li_1", "adhoc", None, "API calls [mb:0123456789ab]", FROM, TO, 4124, "sub-1")
ITEM = replace(WISH, entity_type="charge_item_price", entity_id="api-usage-EUR")
ITEM_LINE = replace(OURS, entity_type="charge_item_price", entity_id="api-usage-EUR", description="API usage")


@pytest.mark.parametrize(
    ("wish", "lines", "taken", "alike", "verdict"),
    [
        pytest.param(WISH, [OURS], [], 1, Booked("li_1"), id="the-line-asked-for"),
        pytest.param(WISH, [], [], 1, Absent(), id="empty-invoice"),
        pytest.param(WISH, [OURS], ["li_1"], 1, Absent(), id="stood-before-the-send"),
        pytest.param(WISH, [replace(OURS, amount=4125)], [], 1, Wrong("li_1", 4125), id="another-amount"),
        pytest.param(WISH, [replace(OURS, description="API calls")], [], 1, Absent(), id="without-our-reference"),
        pytest.param(WISH, [replace(OURS, description="[mb:0123456789ab] x")], [], 1, Absent(), id="not-last"),
        pytest.param(WISH, [replace(OURS, subscription_id="sub-2")], [], 1, Absent(), id="another-subscription"),
        pytest.param(WISH, [replace(OURS, date_to=FROM)], [], 1, Absent(), id="another-date"),
        pytest.param(WISH, [replace(OURS, date_from=None)], [], 1, Absent(), id="no-date"),
        pytest.param(WISH, [OURS, replace(OURS, id="li_2")], [], 1, TooMany(("li_1", "li_2")), id="twice"),
        pytest.param(WISH, [OURS, replace(OURS, id="li_2")], [], 2, Booked("li_1"), id="two-open-two-lines"),
        pytest.param(WISH, [OURS, replace(OURS, id="li_2")], ["li_1"], 1, Booked("li_2"), id="one-is-another-charge's"),
        pytest.param(ITEM, [ITEM_LINE], [], 1, Booked("li_1"), id="charge-item-needs-no-reference"),
        pytest.param(ITEM, [replace(ITEM_LINE, entity_id="other")], [], 1, Absent(), id="another-item-price"),
        pytest.param(ITEM, [OURS], [], 1, Absent(), id="adhoc-is-no-charge-item"),
        pytest.param(
            ITEM, [replace(ITEM_LINE, amount=1), replace(ITEM_LINE, id="li_2")], [], 2, Booked("li_2"), id="right-first"
        ),
    ],
)
def test_verdict(wish: Wish, lines: list[InvoiceLine], taken: list[str], alike: int, verdict: Verdict) -> None:
    assert judge(wish, lines, taken, open_alike=alike) == verdict
