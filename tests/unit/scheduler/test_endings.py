"""The design's table of how a job ends, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduler.table import ANNA, BERT, CARL, DORA, PRICE, Table

from horde.scheduler.core.endings import amounts, counted_steps
from horde.scheduler.core.job import NOTHING, AccountId, Amounts, Ending, Mkudos, Price


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


def test_steps_are_believed_as_far_as_the_fleet_is_known_to_be_fast() -> None:
    assert counted_steps(10, 20, 100.0, None) == 1
    assert counted_steps(0, 20, 100.0, None) == 0
    assert counted_steps(10, 20, 100.0, 1.0) == 10
    assert counted_steps(10, 20, 2.5, 1.0) == 3
    assert counted_steps(30, 20, 100.0, 1.0) == 20
    assert counted_steps(10, 20, -1.0, 1.0) == 0


def test_the_fleets_pace_is_that_of_other_owners_each_counted_once() -> None:
    table = Table()
    fleet = {ANNA: (1.0,), BERT: (0.001,) * 9, CARL: (3.0, 2.0), DORA: (5.0,)}
    for owner, paces in fleet.items():
        for number, pace in enumerate(paces):
            worker = table.attach(f"w{number}", owner=owner)
            table.board.speeds.measure(worker.worker_id, "m", 3, pace, 1.0)

    def pace_for(owner: AccountId, model: str = "m") -> float | None:
        return table.board.paces.of_others(table.board, model, 3, owner)

    assert pace_for(BERT) == 2.0
    assert pace_for(ANNA) == 2.0
    assert pace_for(DORA) == 1.0
    assert pace_for(ANNA, "none") is None
    # Who was alone with a model hears of the next one who has it, at once.
    worker = table.attach("w0", owner=ANNA)
    table.board.speeds.measure(worker.worker_id, "rare", 3, 1.0, 1.0)
    assert pace_for(ANNA, "rare") is None
    worker = table.attach("w0", owner=CARL)
    table.board.speeds.measure(worker.worker_id, "rare", 3, 4.0, 1.0)
    assert pace_for(ANNA, "rare") == 4.0
    assert pace_for(CARL, "rare") == 1.0
