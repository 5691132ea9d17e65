"""The design's table of how a job ends, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduler.table import PRICE

from horde.scheduler.core.endings import amounts, counted_steps
from horde.scheduler.core.job import NOTHING, Amounts, Ending, Mkudos, Price


def test_done_pays_the_price_and_burns_tax_and_surcharges() -> None:
    assert amounts(Ending.DONE, PRICE) == Amounts(PRICE.price, PRICE.tax, PRICE.surcharge)


@pytest.mark.parametrize("ending", [Ending.FAULTED, Ending.EXPIRED])
def test_what_failed_costs_nothing(ending: Ending) -> None:
    assert amounts(ending, PRICE, 19, 20) == NOTHING


def test_a_cancel_before_the_first_step_costs_nothing() -> None:
    assert amounts(Ending.CANCELLED, PRICE, 0, 20) == NOTHING


def test_a_cancel_pays_the_steps_rounded_down_and_no_tax() -> None:
    assert amounts(Ending.CANCELLED, PRICE, 7, 20) == Amounts(Mkudos(3_790), Mkudos(0), Mkudos(758))
    assert amounts(Ending.CANCELLED, PRICE, 99, 20) == Amounts(PRICE.price, Mkudos(0), PRICE.surcharge)


def test_the_censored_is_earned_and_nothing_is_burned() -> None:
    assert amounts(Ending.CENSORED, PRICE) == Amounts(earned=PRICE.price)


def test_a_job_that_has_not_ended_moves_nothing() -> None:
    with pytest.raises(ValueError, match="not ended"):
        amounts(Ending.NONE, PRICE)


@given(
    price=st.integers(0, 10**9), surcharge=st.integers(0, 10**9), step=st.integers(-1, 600), steps=st.integers(1, 500)
)
def test_a_cancel_never_costs_more_than_was_held(price: int, surcharge: int, step: int, steps: int) -> None:
    divided = amounts(Ending.CANCELLED, Price(Mkudos(price), Mkudos(surcharge), Mkudos(5)), step, steps)
    assert 0 <= divided.earned <= price
    assert 0 <= divided.surcharge <= surcharge
    assert divided.tax == 0


def test_steps_are_believed_as_far_as_the_worker_is_known_to_be_fast() -> None:
    assert counted_steps(10, 20, 100.0, None) == 10
    assert counted_steps(10, 20, 100.0, 1.0) == 10
    assert counted_steps(10, 20, 2.5, 1.0) == 3
    assert counted_steps(30, 20, 100.0, 1.0) == 20
    assert counted_steps(10, 20, -1.0, 1.0) == 0
