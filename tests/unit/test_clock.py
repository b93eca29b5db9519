"""The run's clock, on hands that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime

from meterbridge.clock import Clock, boottime


class Hands:
    """A wall clock that can be set and a monotonic clock that only goes on, both in seconds."""

    def __init__(self, wall: float, elapsed: float) -> None:
        self.wall = wall
        self.elapsed = elapsed

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.elapsed)


def test_time_starts_at_the_wall_clock_and_passes_with_it() -> None:
    hands = Hands(wall=1_790_000_000.0, elapsed=50.0)
    clock = hands.clock()
    hands.pass_by(2.5)
    assert clock.epoch() == 1_790_000_002.5


def test_a_learned_offset_shifts_time_to_the_vendors() -> None:
    hands = Hands(wall=1_790_000_000.0, elapsed=50.0)
    clock = hands.clock()
    clock.learn(-90.0)
    hands.pass_by(1.0)
    assert clock.epoch() == 1_789_999_911.0


def test_a_second_offset_replaces_the_first() -> None:
    clock = Hands(wall=1_790_000_000.0, elapsed=50.0).clock()
    clock.learn(30.0)
    clock.learn(10.0)
    assert clock.epoch() == 1_790_000_010.0


def test_setting_the_wall_clock_during_a_run_changes_nothing() -> None:
    hands = Hands(wall=1_790_000_000.0, elapsed=50.0)
    clock = hands.clock()
    clock.learn(5.0)
    hands.wall -= 3600.0
    hands.elapsed += 1.0
    assert clock.epoch() == 1_790_000_006.0


def test_now_is_aware_utc() -> None:
    clock = Hands(wall=1_790_000_000.25, elapsed=0.0).clock()
    assert clock.now() == datetime(2026, 9, 21, 14, 13, 20, 250_000, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_the_clocks_boottime_knows_no_offset() -> None:
    hands = Hands(wall=1_790_000_000.0, elapsed=50.0)
    clock = hands.clock()
    clock.learn(1000.0)
    hands.pass_by(3.0)
    assert clock.boottime() == 53.0


def test_boottime_never_goes_back() -> None:
    first = boottime()
    assert 0 < first <= boottime()
