"""Trying again: with the same call, not for ever, and never before the time that was named."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from horde.clients.errors import (
    BudgetSpent,
    Cancelled,
    Internal,
    InvalidField,
    RateLimited,
    ServiceError,
    TooManyGenerations,
    Unavailable,
)
from horde.clients.retrying import Attempts, Patience, patiently


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def failing(*errors: ServiceError) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


def attempts(time: Time, total: float = 30) -> Attempts:
    return Attempts(Patience(timedelta(seconds=total)), clock=time.clock, sleep=time.sleep, draw=lambda: 1.0)


async def test_unavailable_is_tried_again_with_growing_pauses() -> None:
    time = Time()
    assert await patiently(failing(*[Unavailable()] * 7), attempts(time)) == "answer"
    assert time.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3, 3])


async def test_a_call_that_the_other_side_gave_up_is_made_again() -> None:
    time = Time()
    assert await patiently(failing(Cancelled()), attempts(time)) == "answer"


async def test_patience_ends() -> None:
    time = Time()
    with pytest.raises(Unavailable):
        await patiently(failing(*[Unavailable()] * 100), attempts(time, total=5))
    assert time.now <= 5


async def test_it_waits_as_long_as_the_service_says_and_not_less() -> None:
    time = Time()
    limited = RateLimited(retry_after=timedelta(seconds=2))
    assert await patiently(failing(limited), attempts(time)) == "answer"
    assert 2 <= time.slept[0] < 2.1


async def test_a_wait_longer_than_patience_is_told_at_once() -> None:
    time = Time()
    with pytest.raises(RateLimited):
        await patiently(failing(RateLimited(retry_after=timedelta(minutes=5))), attempts(time))
    assert time.slept == []


@pytest.mark.parametrize(
    "error",
    [InvalidField(), TooManyGenerations(), BudgetSpent(), BudgetSpent(retry_after=timedelta(seconds=1))],
    ids=lambda error: type(error).__name__,
)
async def test_a_refusal_is_final(error: ServiceError) -> None:
    time = Time()
    with pytest.raises(type(error)):
        await patiently(failing(error), attempts(time))
    assert time.slept == []


async def test_a_defect_is_asked_about_once_more() -> None:
    time = Time()
    assert await patiently(failing(Internal()), attempts(time)) == "answer"
    with pytest.raises(Internal):
        await patiently(failing(Internal(), Internal()), attempts(time))


async def test_success_makes_patience_whole_again() -> None:
    time = Time()
    tries = attempts(time, total=1)
    for _ in range(20):
        await tries.pause_after(Unavailable())
        tries.succeeded()
    assert len(time.slept) == 20


def test_the_jitter_takes_up_to_half_away() -> None:
    patience = Patience()
    assert patience.pause_seconds(2, 0.0) == pytest.approx(0.2)
    assert patience.pause_seconds(2, 1.0) == pytest.approx(0.4)
    assert patience.pause_seconds(10_000, 1.0) == pytest.approx(3.0)
