"""What becomes of a line with a reference of ours that no row owns, as a table."""

import pytest

from meterbridge.rules.keys import bare, connection_mark, reference
from meterbridge.rules.records import InvoiceLine
from meterbridge.rules.strangers import Known, strangers

ONE, TWO = ("bill-1", "sub-1", "a"), ("bill-2", "sub-1", "b")
MARK = connection_mark("default", "acme", "org-1")
OURS, OLDER = reference(ONE, MARK), reference(ONE)
FOREIGN = reference(ONE, connection_mark("eu", "acme-eu", "org-2"))


def line(name: str, text: str) -> InvoiceLine:
    return InvoiceLine(name, "adhoc", None, text, None, None, 500, "sub-1")


def known(owned=None, claims=None, **more) -> Known:
    return Known(owned or {}, claims or {}, MARK, **more)


@pytest.mark.parametrize(
    ("lines", "beside", "verdicts"),
    [
        pytest.param([line("a", f"API [{OURS}]")], known(claims={OURS: [ONE]}), [("a", "adopt")], id="one-claim"),
        pytest.param([line("a", f"API [{OURS}]")], known(claims={OURS: [ONE, TWO]}), [("a", "hold")], id="two-claims"),
        pytest.param([line("a", f"API [{OURS}]")], known(), [("a", "hold")], id="no-claim"),
        pytest.param([line("a", f"API [{OURS}]")], known(owned={"a": OURS}), [], id="owned"),
        pytest.param(
            [line("a", f"API [{OURS}]"), line("b", f"API [{OURS}]")],
            known(owned={"a": OURS}, claims={OURS: [ONE]}),
            [("b", "double")],
            id="copied-beside-the-owned-one",
        ),
        pytest.param(
            [line("b", f"API [{OURS}]")], known(owned={"elsewhere": OURS}), [("b", "double")], id="owned-elsewhere"
        ),
        pytest.param(
            [line("a", f"API [{OURS}]"), line("b", f"API [{OURS}]")],
            known(claims={OURS: [ONE]}),
            [("a", "double"), ("b", "double")],
            id="two-for-one-claim",
        ),
        pytest.param(
            [line("a", f"API [{OLDER}]")], known(claims={OURS: [ONE]}), [("a", "adopt")], id="older-with-a-claim"
        ),
        pytest.param([line("b", f"API [{OLDER}]")], known(owned={"a": OURS}), [("b", "double")], id="older-and-owned"),
        pytest.param([line("a", f"API [{OLDER}]")], known(), [("a", "hold")], id="older-mappings-not-read"),
        pytest.param([line("a", f"API [{OLDER}]")], known(mapped={"a"}), [("a", "hold")], id="older-that-m3ter-maps"),
        pytest.param([line("a", f"API [{OLDER}]")], known(mapped=()), [], id="older-that-m3ter-does-not-map"),
        pytest.param([line("a", f"API [{FOREIGN}]")], known(claims={OURS: [ONE]}), [], id="another-connection's"),
        pytest.param([line("a", f"API [{OURS}]")], known(unanswered=[OURS]), [], id="a-write-without-an-answer"),
        pytest.param([line("a", f"[{OURS}] API")], known(claims={OURS: [ONE]}), [], id="not-last"),
        pytest.param([line("a", "typed in by a person")], known(claims={OURS: [ONE]}), [], id="no-reference"),
    ],
)
def test_a_line_that_nobody_owns(lines, beside, verdicts):
    assert [(one.line.id, one.verdict) for one in strangers(lines, beside)] == verdicts


def test_two_connections_have_two_references_of_one_charge():
    assert OURS != FOREIGN
    assert bare(OURS) == bare(FOREIGN) == OLDER
