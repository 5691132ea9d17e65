"""A worker that pulls, in front of a mesh that pushes: nothing that was lent is lost, and nothing is wanted in vain."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from horde.web_door.core.refusals import Refusal
from horde.web_door.core.rest_worker import (
    HUNGRY_SECONDS,
    MOST_IN_HANDS,
    SILENT_SECONDS,
    UNCLAIMED_SECONDS,
    End,
    Lent,
    RestWorker,
)


def lent(number: int, at: float = 0.0) -> Lent:
    return Lent(f"job{number}", f"lease{number}", None, at)


def test_it_is_hungry_only_after_a_pop_that_got_nothing_and_not_for_long() -> None:
    worker = RestWorker(last_pop=0.0)
    assert worker.slots(0.0) == 0
    assert worker.pop(0.0) is None
    assert worker.slots(1.0) == 1
    assert worker.slots(HUNGRY_SECONDS) == 0
    worker.pop(20.0)
    worker.lent(lent(1, 20.0))
    assert worker.slots(20.0) == 1
    assert worker.pop(20.5) is not None
    assert worker.slots(20.5) == 1


def test_a_job_that_is_not_fetched_goes_back_and_no_more_is_wanted() -> None:
    worker = RestWorker(last_pop=0.0)
    worker.pop(0.0)
    worker.lent(lent(1, 1.0))
    assert worker.unclaimed(UNCLAIMED_SECONDS) == []
    assert [job.job_id for job in worker.unclaimed(1.0 + UNCLAIMED_SECONDS)] == ["job1"]
    assert worker.slots(1.0 + UNCLAIMED_SECONDS) == 0
    assert worker.pop(50.0) is None


@pytest.mark.parametrize(
    ("end", "rc", "words"),
    [
        (None, "InvalidJobID", ("Processing Job with ID", "does not exist")),
        (End.SUBMITTED, "DuplicateGen", ("already submitted",)),
        (End.ABORTED, "AbortedGen", ("Please check your worker speed",)),
    ],
)
def test_what_is_over_is_told_in_the_words_that_workers_look_for(
    end: End | None, rc: str, words: tuple[str, ...]
) -> None:
    worker = RestWorker(last_pop=0.0)
    if end is not None:
        worker.lent(lent(1))
        held = worker.pop(0.0)
        assert held is not None
        if end is End.SUBMITTED:
            worker.ended(worker.submitting("job1"), End.SUBMITTED)
        else:
            worker.revoked("lease1")
    with pytest.raises(Refusal) as refused:
        worker.submitting("job1")
    assert refused.value.rc == rc
    assert all(word in refused.value.message for word in words)


def test_of_two_submits_at_once_one_counts() -> None:
    worker = RestWorker(last_pop=0.0)
    worker.lent(lent(1))
    worker.pop(0.0)
    worker.submitting("job1")
    with pytest.raises(Refusal, match="already submitted"):
        worker.submitting("job1")


def test_a_job_that_is_lent_again_is_held_again() -> None:
    worker = RestWorker(last_pop=0.0)
    worker.lent(lent(1))
    worker.pop(0.0)
    worker.revoked("lease1")
    worker.lent(Lent("job1", "another", None, 1.0))
    assert worker.pop(1.0) is not None
    worker.revoked("lease1")
    assert worker.submitting("job1").lease_id == "another"


class Machine(RuleBasedStateMachine):
    """Any order of what a worker, a mesh and time may do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.worker = RestWorker(last_pop=0.0)
        self.open: set[str] = set()
        """Leases that the mesh takes for lent."""
        self.number = 0

    @rule(seconds=st.sampled_from([0.5, 5.0, 16.0, 21.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for late in self.worker.unclaimed(self.now):
            self.open.remove(late.lease_id)

    @rule()
    def pops(self) -> None:
        before = len(self.worker.waiting)
        assert (self.worker.pop(self.now) is not None) is (before > 0)

    @precondition(lambda self: self.worker.slots(self.now) > len(self.open))
    @rule()
    def lends(self) -> None:
        self.number += 1
        self.worker.lent(lent(self.number, self.now))
        self.open.add(f"lease{self.number}")

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def revokes(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.open)))
        self.open.remove(lease)
        self.worker.revoked(lease)

    @precondition(lambda self: self.worker.hands)
    @rule(data=st.data())
    def submits(self, data: st.DataObject) -> None:
        held = self.worker.submitting(data.draw(st.sampled_from(sorted(self.worker.hands))))
        self.worker.ended(held, End.SUBMITTED)
        self.open.remove(held.lease_id)

    @invariant()
    def nothing_is_lost_and_nothing_is_held_twice(self) -> None:
        held = [lease.lease_id for lease in self.worker.held()]
        assert sorted(held) == sorted(self.open)
        assert not set(self.worker.hands) & set(self.worker.closed)

    @invariant()
    def it_wants_what_it_holds_and_at_most_one_more(self) -> None:
        slots = self.worker.slots(self.now)
        assert len(self.open) <= slots <= len(self.open) + 1
        assert slots <= MOST_IN_HANDS + 1

    @invariant()
    def a_session_is_over_only_when_nothing_is_held(self) -> None:
        if self.worker.over(self.now):
            assert not self.open
            assert self.now - self.worker.last_pop >= SILENT_SECONDS


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
