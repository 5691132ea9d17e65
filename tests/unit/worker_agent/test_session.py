"""The session machine: no lease is forgotten, no outcome is lost, and nothing is said out of turn."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from horde.worker_agent import wire
from horde.worker_agent.core.declining import declines
from horde.worker_agent.core.jobs import (
    Assignment,
    Cancelled,
    Capabilities,
    Deviation,
    DeviationKind,
    Failed,
    FailureReason,
    JobId,
    LeaseId,
    MilliKudos,
    ModelOffer,
    Outcome,
    Painted,
    Picture,
    RefusalReason,
    Refused,
)
from horde.worker_agent.core.leases import Stage
from horde.worker_agent.core.messages import Demand, HeldLease, Hello, Preview, Progress, Restatement
from horde.worker_agent.core.session import (
    MAX_RESTATED,
    MAX_RESTATEMENT_BYTES,
    MAX_UNSETTLED,
    SURPLUS,
    Begin,
    Effect,
    Forget,
    Keep,
    Phase,
    Send,
    Session,
    Settled,
    Stop,
)
from horde.worker_agent.core.settling import Disposition, RevocationReason, Settlement

OFFER = Capabilities((ModelOffer("paintbox", loaded=True, max_pixels=512 * 512),))
PICTURE = Picture("paintbox", "a cat", 64, 64, steps=4, seed=1)
SLOTS = 2


def session(slots: int = SLOTS) -> Session:
    return Session("anna", "test/1", OFFER, slots)


def attached(slots: int = SLOTS) -> Session:
    made = session(slots)
    made.connected()
    made.welcomed()
    return made


def lent(number: int) -> Assignment:
    return Assignment(LeaseId(f"1-{number}"), JobId(f"job-{number}"), PICTURE, "grant", "localhost:1")


def said(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_nothing_but_hello_is_said_before_the_welcome() -> None:
    worker = session()
    assert said(worker.connected()) == [Hello("anna", OFFER, "test/1")]
    assert said(worker.pause(True)) == []
    assert said(worker.offer(Capabilities())) == []
    assert said(worker.welcomed()) == [Restatement(0, Demand(0, False), (), ())]


def test_an_assignment_is_begun_once() -> None:
    worker = attached()
    assert worker.assigned(lent(1)) == [Begin(lent(1))]
    assert worker.assigned(lent(1)) == []


def test_an_assignment_of_a_lease_that_ended_here_is_answered_with_its_outcome() -> None:
    worker = attached()
    worker.assigned(lent(1))
    outcome = Outcome(LeaseId("1-1"), JobId("job-1"), Painted("receipt"))
    assert worker.finished(LeaseId("1-1"), Painted("receipt")) == [Keep(outcome), Send(outcome)]
    assert worker.assigned(lent(1)) == [Send(outcome)]


def test_what_was_on_its_way_when_the_demand_fell_is_taken_but_not_without_end() -> None:
    worker = attached()
    worker.pause(True)
    for number in range(SLOTS + SURPLUS):
        assert worker.assigned(lent(number)) == [Begin(lent(number))]
    (keep, _) = worker.assigned(lent(99))
    assert isinstance(keep, Keep)
    assert isinstance(keep.outcome.result, Refused)


def test_a_kind_of_work_that_nobody_knows_is_refused() -> None:
    worker = attached()
    effects = worker.assigned(Assignment(LeaseId("1-1"), JobId("job-1"), None, "grant", "localhost:1"))
    (outcome,) = said(effects)
    assert isinstance(outcome, Outcome)
    assert outcome.result == Refused(RefusalReason.SPEC_NOT_UNDERSTOOD, "this agent paints images only")


def test_progress_only_rises() -> None:
    worker = attached()
    worker.assigned(lent(1))
    assert said(worker.stepped(LeaseId("1-1"), 3)) == [Progress(LeaseId("1-1"), 3)]
    assert worker.stepped(LeaseId("1-1"), 3) == []
    assert worker.stepped(LeaseId("1-1"), 2) == []
    assert worker.stepped(LeaseId("1-2"), 9) == []


def test_previews_are_for_a_lease_that_is_watched_on_a_stream_that_is_open() -> None:
    worker = attached()
    worker.assigned(lent(1))
    lease = LeaseId("1-1")
    assert worker.previewed(lease, 1, b"jpeg") == []
    worker.preview_wished(lease, True)
    assert said(worker.previewed(lease, 1, b"jpeg")) == [Preview(lease, 1, b"jpeg")]
    worker.disconnected()
    assert not worker.wants_preview(lease)
    worker.connected()
    worker.welcomed()
    assert not worker.wants_preview(lease), "who watched must say so again"


def test_after_a_revocation_nothing_is_owed() -> None:
    worker = attached()
    worker.assigned(lent(1))
    lease = LeaseId("1-1")
    assert worker.revoked(lease, RevocationReason.LAPSED) == [Stop(lease, "lapsed")]
    assert worker.revoked(lease, RevocationReason.LAPSED) == []
    assert worker.finished(lease, Painted("receipt")) == []
    assert said(worker.stopped(lease, JobId("job-1"), 2)) == [Outcome(lease, JobId("job-1"), Cancelled(2))]
    assert worker.quit_of_all


def test_a_revocation_that_crosses_an_outcome_leaves_it_to_be_settled() -> None:
    worker = attached()
    worker.assigned(lent(1))
    lease = LeaseId("1-1")
    worker.finished(lease, Painted("receipt"))
    assert worker.revoked(lease, RevocationReason.SUPERSEDED) == []
    assert lease in worker.unsettled
    effects = worker.settled(lease, Disposition.DUPLICATE, None)
    assert effects == [
        Forget(lease),
        Settled(Outcome(lease, JobId("job-1"), Painted("receipt")), Disposition.DUPLICATE, None, ""),
    ]
    assert worker.settled(lease, Disposition.DUPLICATE, None) == []


def test_a_job_that_is_settled_over_our_head_is_stopped() -> None:
    worker = attached()
    worker.assigned(lent(1))
    assert worker.settled(LeaseId("1-1"), Disposition.UNKNOWN_JOB, None) == [Stop(LeaseId("1-1"), "settled")]


def test_a_drain_gives_back_what_waits_and_finishes_what_is_painted() -> None:
    worker = attached()
    worker.assigned(lent(1))
    worker.assigned(lent(2))
    worker.advanced(LeaseId("1-1"), Stage.PAINTING)
    effects = worker.drain()
    refused = Outcome(LeaseId("1-2"), JobId("job-2"), Refused(RefusalReason.DRAINING, "the worker is leaving"))
    assert effects == [
        Send(Demand(0, True)),
        Stop(LeaseId("1-2"), "draining"),
        Keep(refused),
        Send(refused),
    ]
    (late,) = said(worker.assigned(lent(3)))
    assert isinstance(late, Outcome)
    assert len(worker.leases) == 1
    worker.give_up()
    assert worker.idle
    assert set(worker.unsettled) == {LeaseId("1-1"), LeaseId("1-2"), LeaseId("1-3")}


def test_too_many_unsettled_outcomes_end_the_demand_until_they_are_settled() -> None:
    worker = attached()
    for number in range(MAX_UNSETTLED):
        worker.assigned(lent(number))
        effects = worker.finished(LeaseId(f"1-{number}"), Failed(FailureReason.BACKEND))
    assert said(effects)[-1] == Demand(0, False)
    one = MilliKudos(1)
    paid = Settlement(one, one, one, one)
    assert said(worker.settled(LeaseId("1-0"), Disposition.ACCEPTED, paid)) == [Demand(SLOTS, False)]


def test_what_an_earlier_run_left_is_restated() -> None:
    worker = session()
    outcome = Outcome(LeaseId("1-1"), JobId("job-1"), Painted("receipt"))
    held = [HeldLease(LeaseId("1-2"), JobId("job-2"), 4), HeldLease(LeaseId("1-1"), JobId("job-1"), 4)]
    worker.restore([outcome], held)
    worker.connected()
    assert said(worker.welcomed()) == [Restatement(0, Demand(SLOTS, False), (held[0],), (outcome,))]


def test_more_outcomes_than_a_restatement_carries_are_said_one_by_one_behind_it() -> None:
    worker = session()
    left = [Outcome(LeaseId(f"1-{number}"), JobId(f"job-{number}"), Cancelled(1)) for number in range(600)]
    worker.restore(left, [])
    worker.connected()
    first, *others = said(worker.welcomed())
    assert isinstance(first, Restatement)
    assert first.outcomes == tuple(left[-MAX_RESTATED:])
    assert others == left[:-MAX_RESTATED]
    assert said(worker.resync(7)) == [replace(first, epoch=7), *others]


def test_large_outcomes_are_counted_in_bytes() -> None:
    worker = session()
    wide = tuple(Deviation(DeviationKind.SUBSTITUTED, "sampler", "\N{CAT FACE}" * 200, "x") for _ in range(32))
    left = [Outcome(LeaseId(f"1-{number}"), JobId("job"), Painted("r" * 4_000, wide)) for number in range(20)]
    worker.restore(left, [HeldLease(LeaseId("2-" + "9" * 60), JobId("j" * 36), 2_000_000_000) for _ in range(10)])
    worker.connected()
    first, *others = said(worker.welcomed())
    assert isinstance(first, Restatement)
    assert 0 < len(first.outcomes) < len(left)
    assert [*others, *first.outcomes] == left
    assert wire.request(first).ByteSize() <= MAX_RESTATEMENT_BYTES


class SessionMachine(RuleBasedStateMachine):
    """Any order of streams, assignments, work, revocations and settlements, and restarts from disk."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = session()
        self.disk: dict[LeaseId, Outcome] = {}
        self.at_work: set[LeaseId] = set()
        self.stopping: set[LeaseId] = set()
        self.owed: set[LeaseId] = set()
        """Assigned, not revoked, not settled: each must be held or have an outcome."""
        self.sent: set[LeaseId] = set()
        self.numbers = 0

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Begin(assignment):
                    assert assignment.lease_id not in self.at_work
                    self.at_work.add(assignment.lease_id)
                case Stop(lease_id):
                    self.at_work.discard(lease_id)
                    self.stopping.add(lease_id)
                case Keep(outcome):
                    self.disk[outcome.lease_id] = outcome
                case Forget(lease_id):
                    del self.disk[lease_id]
                case Send(message):
                    self.check_said(message)
                case Settled():
                    pass

    def check_said(self, message: object) -> None:
        match message:
            case Hello():
                assert self.worker.phase is Phase.GREETING
            case Outcome():
                assert self.worker.phase is Phase.OPEN
                if not isinstance(message.result, Cancelled):
                    assert self.disk[message.lease_id] == message, "sent before it was on disk"
            case Restatement():
                assert {lease.lease_id for lease in message.leases} == self.at_work
                assert {outcome.lease_id for outcome in message.outcomes} == set(self.disk)
            case _:
                assert self.worker.phase is Phase.OPEN

    @precondition(lambda self: self.worker.phase is Phase.AWAY)
    @rule()
    def connect(self) -> None:
        self.do(self.worker.connected())

    @precondition(lambda self: self.worker.phase is Phase.GREETING)
    @rule()
    def welcome(self) -> None:
        self.do(self.worker.welcomed())

    @rule()
    def break_stream(self) -> None:
        self.do(self.worker.disconnected())

    @rule(epoch=st.integers(1, 9))
    def resync(self, epoch: int) -> None:
        self.do(self.worker.resync(epoch))

    @precondition(lambda self: self.worker.phase is Phase.OPEN)
    @rule(again=st.booleans())
    def assign(self, again: bool) -> None:
        if not again or not self.numbers:
            self.numbers += 1
            self.owed.add(LeaseId(f"1-{self.numbers}"))
        elif LeaseId(f"1-{self.numbers}") not in self.owed:
            return
        self.do(self.worker.assigned(lent(self.numbers)))

    @rule(data=st.data(), well=st.booleans())
    def finish(self, data: st.DataObject, well: bool) -> None:
        if self.at_work:
            lease = data.draw(st.sampled_from(sorted(self.at_work)))
            self.at_work.discard(lease)
            self.do(self.worker.finished(lease, Painted("receipt") if well else Failed(FailureReason.BACKEND)))

    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        if self.stopping:
            lease = data.draw(st.sampled_from(sorted(self.stopping)))
            self.stopping.discard(lease)
            self.do(self.worker.stopped(lease, JobId("job"), 1))

    @rule(number=st.integers(1, 30), step=st.integers(1, 4))
    def step(self, number: int, step: int) -> None:
        self.do(self.worker.stepped(LeaseId(f"1-{number}"), step))

    @precondition(lambda self: self.worker.phase is Phase.OPEN)
    @rule(number=st.integers(1, 30), reason=st.sampled_from(RevocationReason))
    def revoke(self, number: int, reason: RevocationReason) -> None:
        lease = LeaseId(f"1-{number}")
        if lease not in self.disk:
            self.owed.discard(lease)
        self.do(self.worker.revoked(lease, reason))

    @precondition(lambda self: self.worker.phase is Phase.OPEN)
    @rule(number=st.integers(1, 30), disposition=st.sampled_from(Disposition))
    def settle(self, number: int, disposition: Disposition) -> None:
        self.owed.discard(LeaseId(f"1-{number}"))
        self.do(self.worker.settled(LeaseId(f"1-{number}"), disposition, None))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.do(self.worker.pause(paused))

    @rule()
    def drain(self) -> None:
        self.do(self.worker.drain())

    @rule()
    def give_up(self) -> None:
        self.do(self.worker.give_up())

    @rule()
    def restart(self) -> None:
        """Killed: what was being painted is gone, what is on disk is not."""
        self.owed &= set(self.disk)
        self.at_work.clear()
        self.stopping.clear()
        self.worker = session()
        self.do(self.worker.restore(self.disk.values(), []))

    @invariant()
    def every_lease_is_worked_on_or_has_an_outcome_until_it_is_closed(self) -> None:
        held = {lease.lease_id for lease in self.worker.leases}
        assert held == self.at_work
        assert set(self.worker.unsettled) == set(self.disk)
        assert not held & set(self.disk)
        assert self.owed <= held | set(self.disk)


SessionMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestAnyHistory = SessionMachine.TestCase


def test_what_the_owner_does_not_paint_is_given_back_unpainted_with_its_rule() -> None:
    made = Session("anna", "test/1", OFFER, SLOTS, declines(["# not these", "a  Cát"]))
    made.connected()
    made.welcomed()
    effects = made.assigned(lent(1))
    assert not any(isinstance(effect, Begin) for effect in effects)
    (outcome,) = made.unsettled.values()
    assert isinstance(outcome.result, Refused)
    assert outcome.result.reason is RefusalReason.CONTENT_DECLINED
    assert "rule 2" in outcome.result.detail
    other = Session("anna", "test/1", OFFER, SLOTS, declines(["/dogs?/"]))
    other.connected()
    other.welcomed()
    assert any(isinstance(effect, Begin) for effect in other.assigned(lent(1)))


@pytest.mark.parametrize("line", ["/(/", "/(?=ahead)/", "!!"])
def test_a_rule_that_cannot_be_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        declines(["a cat", line])
