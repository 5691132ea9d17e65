"""Shares: exact whatever joins, leaves or changes its weight, bounded, and fair to whoever waits."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from horde.scheduler.core import shares
from horde.scheduler.core.shares import Shares, weight_of

flows = st.sampled_from("abcde")
weights = st.sampled_from((0.25, 1.0, 1.7, 3.0, 2_000.0))


class Ledger(RuleBasedStateMachine):
    """A model that knows every job, beside the sums that are kept."""

    @initialize()
    def begin(self) -> None:
        self.shares = Shares()
        self.jobs: list[tuple[float, str, float, bool]] = []
        self.weights: dict[str, float] = {}
        self.clock = 0.0

    @rule(flow=flows, weight=weights, work=st.integers(1, 50), paintable=st.booleans())
    def enter(self, flow: str, weight: float, work: float, paintable: bool) -> None:
        tag = self.shares.enter(flow, weight, work, paintable)
        assert tag >= self.shares.clock
        self.jobs.append((tag, flow, work, paintable))
        self.weights[flow] = weight

    @precondition(lambda self: any(job[3] for job in self.jobs))
    @rule()
    def serve(self) -> None:
        job = min(job for job in self.jobs if job[3])
        self.jobs.remove(job)
        self.shares.serve(job[1], job[0], job[2])

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.jobs.remove(job)
        self.shares.withdraw(job[1], job[3])

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        tag, flow, work, paintable = job = data.draw(st.sampled_from(self.jobs))
        self.jobs[self.jobs.index(job)] = (tag, flow, work, not paintable)
        self.shares.turned(flow, -1 if paintable else 1)

    @invariant()
    def the_weight_is_that_of_all_who_compete(self) -> None:
        competing = {flow for _, flow, _, paintable in self.jobs if paintable}
        assert self.shares.weight == sum(round(self.weights[flow] * 1000) for flow in competing)

    @invariant()
    def nothing_is_kept_of_who_waits_for_nothing_and_owes_nothing(self) -> None:
        waiting = Counter(flow for _, flow, _, _ in self.jobs)
        for name, flow in self.shares.flows.items():
            assert flow.waiting == waiting[name]
            assert flow.waiting or flow.end > self.shares.clock
        assert waiting.keys() <= self.shares.flows.keys()

    @invariant()
    def the_clock_never_goes_back(self) -> None:
        assert self.shares.clock >= self.clock
        self.clock = self.shares.clock


Ledger.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedger = Ledger.TestCase


def test_debts_are_bounded_and_those_who_owe_most_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MAX_DEBTORS", 40)
    kept = Shares()
    kept.enter("backlog", 1.0, 1.0, True)
    for number in range(200):
        # Each is given something far ahead of the clock, which the weight of many holds back.
        kept.enter(f"holding back {number}", 5_000.0, 1.0, True)
        kept.enter(f"flow{number}", 1.0, 100.0 + number, True)
        kept.serve(f"flow{number}", 0.0, 100.0 + number)
        owing = sum(not flow.waiting for flow in kept.flows.values())
        assert min(number, 30) <= owing <= 41
    debtors = {name: flow.end for name, flow in kept.flows.items() if not flow.waiting}
    assert min(debtors.values()) > 250.0
    assert len(kept._debts) <= 2 * len(debtors) + 65


def test_a_flow_that_withdraws_all_it_asked_for_owes_only_what_it_was_given() -> None:
    kept = Shares()
    kept.enter("other", 1.0, 10.0, True)
    first = kept.enter("a", 1.0, 10.0, True)
    for _ in range(1_000):
        kept.enter("a", 1.0, 10.0, True)
    kept.serve("a", first, 10.0)
    for _ in range(1_000):
        kept.withdraw("a", True)
    assert kept.enter("a", 1.0, 10.0, True) == first + 10.0


def test_weight_grows_slowly_with_kudos() -> None:
    assert weight_of(0) == weight_of(-5) == 1.0
    assert 1.9 < weight_of(99_000) < 2.1
    assert weight_of(10**12) < 6.0
