"""The usage rules: uids that cannot meet, requests within m3ter's limits, sets of rows as runs."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterbridge.errors import CODES
from meterbridge.rules.usage import ENVELOPE, MOST_BYTES, REASONS, Numbers, cut, ranges, uid


def test_a_uid_is_40_hex_digits_over_length_prefixed_parts() -> None:
    by_hand = hashlib.sha256(b"5:calls9:api_calls4:acme6:\xc3\xbcber-12:x2").hexdigest()[:40]
    assert uid("calls", "api_calls", "acme", ["über-1"[:5], "x2"]) != by_hand
    assert (
        uid("calls", "api_calls", "acme", ["über-"])
        == hashlib.sha256(b"5:calls9:api_calls4:acme6:\xc3\xbcber-").hexdigest()[:40]
    )


def test_one_row_at_two_meters_and_shifted_parts_make_different_uids() -> None:
    made = [
        uid("m", "a", "b", ["c"]),
        uid("m", "ab", "", ["c"]),
        uid("m", "a", "bc", [""]),
        uid("m", "a", "b", ["", "c"]),
        uid("ma", "", "b", ["c"]),
    ]
    assert len(set(made)) == 5


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([200] * 1_000, [1_000], id="a-thousand-small-ones"),
        pytest.param([200] * 1_001, [1_000, 1], id="one-too-many"),
        pytest.param([511_980], [1], id="just-below-the-limit"),
        pytest.param([300_000, 211_979, 1], [2, 1], id="a-byte-more-begins-the-next"),
        pytest.param([300_000, 300_000, 300_000], [1, 1, 1], id="large-ones-alone"),
    ],
)
def test_requests_stay_within_both_limits(sizes: list[int], counts: list[int]) -> None:
    assert cut(sizes) == counts


@given(st.lists(st.integers(1, 300_000), max_size=2_000))
def test_every_measurement_is_in_one_request_that_fits(sizes: list[int]) -> None:
    counts = cut(sizes)
    assert sum(counts) == len(sizes)
    start = 0
    for count in counts:
        part = sizes[start : start + count]
        start += count
        assert 1 <= count <= 1_000
        assert ENVELOPE + sum(part) + count - 1 < MOST_BYTES


@given(st.sets(st.integers(0, 300)), st.integers(0, 300), st.integers(0, 300))
def test_a_set_survives_its_text(numbers: set[int], first: int, last: int) -> None:
    text = ranges(sorted(numbers))
    assert Numbers([text]).within(0, 300) == numbers
    assert Numbers([text]).within(first, last) == {n for n in numbers if first <= n <= last}


def test_overlapping_texts_are_one_set() -> None:
    assert Numbers(["5-9", "1-6", "", "20"]).within(0, 100) == {1, 2, 3, 4, 5, 6, 7, 8, 9, 20}


def test_every_reason_counts_under_a_known_code() -> None:
    assert {reason.code for reason in REASONS.values()} <= set(CODES)
    assert len({reason.words for reason in REASONS.values()}) == len(REASONS)
