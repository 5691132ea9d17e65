"""How often watchers hear how long it may still take."""

from __future__ import annotations

from horde.gateway.core.waits import MESSAGES_A_SECOND, Waits


def test_what_has_not_changed_is_said_once() -> None:
    waits = Waits()
    assert waits.worth_saying("job", (3, 10.0, 20.0), 0.0, 1)
    assert not any(waits.worth_saying("job", (3, 10.0 + 0.1 * now, 20.0), float(now), 1) for now in range(1, 9))


def test_small_changes_add_up_to_news() -> None:
    waits = Waits()
    said = [waits.worth_saying("job", (3, 100.0 - now, 200.0), float(now), 1) for now in range(40)]
    assert said.count(True) == 5, "at 100, 89, 80, 71 and 63 seconds"


def test_a_worker_that_comes_is_news() -> None:
    waits = Waits()
    assert waits.worth_saying("job", (0, 0.0, 0.0), 0.0, 1)
    assert waits.worth_saying("job", (1, 0.0, 0.0), 1.0, 1)


def test_however_many_watch_all_of_it_stays_within_the_rate() -> None:
    watchers, generations, seconds = 5_000, 100, 60
    waits = [Waits() for _ in range(generations)]
    messages = sum(
        watchers // generations
        for now in range(seconds)
        for index, generation in enumerate(waits)
        # Each time it is news.
        if generation.worth_saying(f"job {index}", (now, 0.0, 0.0), float(now), watchers)
    )
    assert messages <= MESSAGES_A_SECOND * seconds + watchers, "each once at first"
