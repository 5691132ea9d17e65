"""Two services whose clocks differ hear of it: once when it begins, once when it is over."""

from __future__ import annotations

import pytest

from horde.services import clock_watch
from horde.services.clock_watch import MANY, REMIND_SECONDS, ClockWatch
from horde.testkit.loopback import ManualClock


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    info = warning


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    lines = Lines()
    monkeypatch.setattr(clock_watch, "log", lines)
    return lines


def test_a_time_from_the_future_is_told_at_once_and_once(lines: Lines) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock.monotonic)
    for _ in range(100):
        watch.compare("gateway", clock.now().timestamp() + 120, clock.now(), fresh=False)
    assert lines.lines == [("a clock differs from this one", {"service": "gateway", "ahead_seconds": 120.0})]
    assert watch.seconds == {"gateway": 120.0}
    clock.jump(REMIND_SECONDS)
    watch.compare("gateway", clock.now().timestamp() + 120, clock.now(), fresh=False)
    assert len(lines.lines) == 2


def test_a_clock_that_is_behind_is_told_when_nothing_of_it_is_ever_new(lines: Lines) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock.monotonic)
    for number in range(MANY):
        assert lines.lines == []
        watch.compare("gateway", clock.now().timestamp() - 600 - number % 3, clock.now(), fresh=True)
    assert lines.lines == [("a clock differs from this one", {"service": "gateway", "ahead_seconds": -600.0})]
    for _ in range(MANY):
        watch.compare("gateway", clock.now().timestamp(), clock.now(), fresh=True)
    assert lines.lines[1:] == [("a clock agrees with this one again", {"service": "gateway"})]
    assert watch.seconds == {}


def test_old_things_of_a_clock_that_agrees_are_told_to_nobody(lines: Lines) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock.monotonic)
    for number in range(10 * MANY):
        watch.compare("scheduler", clock.now().timestamp() - 900, clock.now(), fresh=False)
        watch.compare("gateway", clock.now().timestamp() - 30 * (number % MANY), clock.now(), fresh=True)
    assert lines.lines == []


def test_the_difference_is_a_metric() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock.monotonic)
    watch.compare("gateway", clock.now().timestamp() + 60, clock.now(), fresh=True)
    (observed,) = watch._observe(None)  # type: ignore[arg-type]
    assert (observed.value, observed.attributes) == (60.0, {"service": "gateway"})
