"""A line when a neighbour begins to fail, a line when it is back, and no line for each call between them."""

from __future__ import annotations

from typing import Any

import pytest

from horde.services import neighbours
from horde.services.neighbours import QUIET_SECONDS, REMIND_SECONDS, Watch
from horde.testkit.loopback import ManualClock


class Recorder:
    """A log that is a list."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def warning(self, event: str, **facts: Any) -> None:
        self.lines.append({"event": event, **facts})

    info = warning


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    recorder = Recorder()
    monkeypatch.setattr(neighbours, "log", recorder)
    return recorder.lines


def told(lines: list[Any]) -> list[tuple[str, int]]:
    return [(line["event"], line["failures"]) for line in lines]


def test_an_outage_is_two_lines_with_a_count(lines: list[Any]) -> None:
    clock = ManualClock()
    watch = Watch("ledger", clock.monotonic)
    watch.answered()
    for _ in range(86):
        watch.failed("503")
        clock.jump(20 / 86)
    watch.answered()
    watch.answered()
    assert told(lines) == [("a neighbour fails", 1), ("a neighbour is back", 86)]
    assert {line["neighbour"] for line in lines} == {"ledger"}
    assert lines[0]["why"] == "503"
    assert lines[1]["seconds"] == 20.0


def test_who_fails_every_other_time_does_not_fill_the_log_and_is_counted(lines: list[Any]) -> None:
    clock = ManualClock()
    watch = Watch("ledger", clock.monotonic)
    for _ in range(1_000):
        watch.failed("503")
        watch.answered()
        clock.jump(0.1)
    assert len(lines) <= 2 * (100 / QUIET_SECONDS + 1)
    assert sum(count for event, count in told(lines) if event == "a neighbour is back") >= 900


def test_an_outage_that_begins_soon_after_another_is_told_all_the_same(lines: list[Any]) -> None:
    clock = ManualClock()
    watch = Watch("ledger", clock.monotonic)
    watch.failed("503")
    watch.answered()
    for _ in range(20):
        clock.jump(1)
        watch.failed("503")
    watch.answered()
    assert told(lines) == [
        ("a neighbour fails", 1),
        ("a neighbour is back", 1),
        ("a neighbour fails", 10),
        ("a neighbour is back", 20),
    ]


def test_what_goes_on_failing_is_said_again_now_and_then(lines: list[Any]) -> None:
    clock = ManualClock()
    watch = Watch("ledger", clock.monotonic)
    for _ in range(int(2 * REMIND_SECONDS) + 1):
        watch.failed("503")
        clock.jump(1)
    assert [event for event, _ in told(lines)] == [
        "a neighbour fails",
        "a neighbour still fails",
        "a neighbour still fails",
    ]
