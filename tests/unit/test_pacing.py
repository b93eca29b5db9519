"""Slots of the pacer, on a clock of our own."""

import pytest

from connectors.pacing import SlotPacer, Unlimited


class Clock:
    """Time that moves only when somebody sleeps; ``during_sleep`` is called once, inside the next sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.during_sleep = None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        if self.during_sleep is not None:
            act, self.during_sleep = self.during_sleep, None
            act()
        self.now += seconds


def pacer(clock: Clock, per_second: float, share: float = 1.0) -> SlotPacer:
    return SlotPacer(per_second, share=share, monotonic=clock.monotonic, sleep=clock.sleep)


def departures(clock: Clock, paced: SlotPacer, count: int) -> list[float]:
    times = []
    for _ in range(count):
        paced.wait()
        times.append(clock.now)
    return times


def test_requests_leave_one_interval_apart() -> None:
    clock = Clock()
    assert departures(clock, pacer(clock, 2.0), 4) == [100.0, 100.5, 101.0, 101.5]


def test_the_rate_stays_one_percent_under_the_limit() -> None:
    clock = Clock()
    paced = SlotPacer(2.5, monotonic=clock.monotonic, sleep=clock.sleep)
    leaving = departures(clock, paced, 150)
    # 150 a minute: the 149 intervals behind the first one take 149 / (2.5 * 0.99) seconds.
    assert leaving[-1] - leaving[0] == pytest.approx(60.2020, abs=1e-3)


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    clock = Clock()
    paced = pacer(clock, 2.0)
    paced.wait()
    clock.now += 60.0
    assert departures(clock, paced, 3) == [160.0, 160.5, 161.0]


def test_a_hold_delays_the_next_request() -> None:
    clock = Clock()
    paced = pacer(clock, 2.0)
    paced.hold(10.0)
    assert departures(clock, paced, 2) == [110.0, 110.5]


def test_a_hold_moves_those_who_already_sleep() -> None:
    clock = Clock()
    paced = pacer(clock, 2.0)
    paced.wait()
    clock.during_sleep = lambda: paced.hold(10.0)
    paced.wait()
    assert clock.now == 110.0


def test_a_shorter_hold_does_not_shorten_a_longer_one() -> None:
    clock = Clock()
    paced = pacer(clock, 2.0)
    paced.hold(10.0)
    paced.hold(1.0)
    assert departures(clock, paced, 1) == [110.0]


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive rate"):
        SlotPacer(0)


def test_unlimited_never_waits() -> None:
    free = Unlimited()
    free.hold(1000.0)
    free.wait()
