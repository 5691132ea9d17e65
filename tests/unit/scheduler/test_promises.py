"""Estimates come to hold as often as they say, however wrong what was computed is."""

from __future__ import annotations

import math
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.unit.scheduler.table import BERT, Table

from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.promises import ENOUGH, LENGTHS, MAX_KINDS, Promise, Promises

KIND = ("m", False)


@pytest.mark.parametrize("off", [0.2, 1.0, 6.0])
def test_nine_of_ten_waits_come_to_be_within_their_p90(off: float) -> None:
    chance, promises, held = random.Random(3), Promises(), [0, 0]
    for number in range(4_000):
        computed = chance.uniform(1.0, 400.0)
        wait = computed * off * chance.lognormvariate(0.0, 0.6)
        p50, p90 = promises.correct(KIND, computed)
        promises.begun(KIND, Promise(0.0, computed, p50, p90), wait)
        if number >= 1_000:
            held[0] += wait <= p50
            held[1] += wait <= p90
    assert 0.45 < held[0] / 3_000 < 0.55
    assert 0.86 < held[1] / 3_000 < 0.94
    shown = promises.held(KIND)
    assert shown is not None
    assert abs(shown - 0.9) < 0.08


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9))))
def test_no_wait_makes_nonsense_of_the_next_estimate(waits: list[tuple[float, float]]) -> None:
    promises = Promises()
    for computed, wait in waits:
        p50, p90 = promises.correct(KIND, computed)
        assert 0 <= p50 <= p90 <= 33 * computed
        promises.begun(KIND, Promise(0.0, computed, p50, p90), wait)


def test_models_and_lengths_learn_apart_and_their_number_is_bounded() -> None:
    promises = Promises()
    for _ in range(ENOUGH):
        p50, p90 = promises.correct(KIND, 100.0)
        promises.begun(KIND, Promise(0.0, 100.0, p50, p90), 10_000.0)
    assert promises.correct(KIND, 100.0)[1] > 400.0
    assert promises.correct(("m", True), 100.0)[1] == pytest.approx(200.0)
    assert promises.correct(KIND, 2.0)[1] == pytest.approx(4.0)
    assert promises.held(("n", False)) is None
    for number in range(MAX_KINDS + 1):
        promises.begun((f"model{number}", False), Promise(0.0, 1.0, 1.0, 1.0), 1.0)
    assert len(promises._errors) <= MAX_KINDS
    assert math.log2(MAX_KINDS) > LENGTHS


def test_what_a_job_was_promised_is_compared_with_when_it_was_lent() -> None:
    table = Table()
    worker = table.attach("w")
    estimates = Estimates(table.board)
    for index in range(2 * ENOUGH):
        # Each waits for the one before, three times as long as was measured.
        (job,) = table.queued(f"r{index}", account=BERT).jobs
        if job.leases:
            continue
        estimates.for_job(job, table.now)
        promise = job.promise
        assert promise is not None
        table.pass_time(50.0 * promise.p90)
        (lease,) = worker.leases.values() or [None]
        if lease is not None:
            table.paint(lease)
        table.run_errands()
        assert job.promise is None
    shown = table.board.promises.held(("m", False))
    assert shown is not None
    assert shown < 0.9


def test_who_waits_longer_than_promised_teaches_while_he_waits() -> None:
    promises, waiting = Promises(), {"yes": True}
    p50, p90 = promises.correct(KIND, 100.0)
    promise = Promise(0.0, 100.0, p50, p90)
    promises.watch(KIND, promise, lambda: waiting["yes"])
    promises.look(p90)
    assert promises.correct(KIND, 100.0)[1] == p90
    promises.look(p90 + 1)
    longer = promises.correct(KIND, 100.0)
    assert longer[0] > p50
    assert longer[1] > p90
    # It counts once: when its wait is over, nothing is left to learn of it.
    promises.begun(KIND, promise, p90 + 2)
    assert promises.correct(KIND, 100.0) == longer


def test_who_has_begun_or_went_away_teaches_nothing_by_being_late() -> None:
    promises = Promises()
    before = promises.correct(KIND, 100.0)
    promises.watch(KIND, Promise(0.0, 100.0, *before), lambda: False)
    promises.look(1e6)
    assert promises.correct(KIND, 100.0) == before


def test_a_model_begins_with_what_the_others_have_taught() -> None:
    promises = Promises()
    for _ in range(20):
        promises.begun(("seldom", False), Promise(0.0, 100.0, 50.0, 90.0), 1000.0)
    p50, p90 = promises.correct(("new", False), 100.0)
    assert p50 > 150.0
    assert p90 > 400.0
    # Of its own class alone: anonymous wait otherwise.
    assert promises.correct(("new", True), 100.0) == Promises().correct(("new", True), 100.0)
