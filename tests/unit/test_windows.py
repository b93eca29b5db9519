"""What a run reads, and how an end is named on each side."""

from datetime import UTC, datetime

import pytest

from meterbridge.rules.windows import Window, inclusive_end, reading_window

NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("watermark", "full", "expected"),
    [
        pytest.param(None, False, Window(None, 1_699_999_700), id="first-run-reads-unfiltered"),
        pytest.param(1_699_990_000, True, Window(None, 1_699_999_700), id="full-read-is-unfiltered"),
        pytest.param(1_699_990_000, False, Window(1_699_989_700, 1_699_999_700), id="steps-back-and-holds-back"),
        pytest.param(1_699_990_000.9, False, Window(1_699_989_700, 1_699_999_700), id="fractions-widen-the-window"),
        pytest.param(1_699_999_700, False, Window(1_699_999_400, 1_699_999_700), id="a-second-run-reads-the-overlap"),
        pytest.param(
            1_699_999_900, False, Window(1_699_999_600, 1_699_999_900), id="until-never-falls-behind-the-watermark"
        ),
    ],
)
def test_window_is_fixed_by_watermark_and_clock(watermark, full, expected):
    assert reading_window(watermark, NOW, full=full) == expected


def test_ends_of_a_window_are_never_equal():
    window = reading_window(NOW, NOW, overlap_seconds=0, hold_back_seconds=0, full=False)
    assert window == Window(NOW - 1, NOW)


def test_hold_back_and_overlap_are_settings():
    window = reading_window(NOW - 7200, NOW, overlap_seconds=60, hold_back_seconds=10, full=False)
    assert window == Window(NOW - 7260, NOW - 10)


def test_exclusive_end_of_march_is_its_last_second():
    end = datetime(2026, 4, 1, tzinfo=UTC)
    assert inclusive_end(end) == datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
