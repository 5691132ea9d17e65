"""What the scheduler has its neighbours do, and what their answers mean to the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from horde.scheduler.core import accepting, checking, deleting, judging, returning, settling
from horde.scheduler.core import effects as fx
from horde.scheduler.core.answers import (
    Again,
    Answer,
    CommitAnswer,
    Committed,
    CompareAnswer,
    Compared,
    Declined,
    Recorded,
)
from horde.scheduler.core.job import Amounts, Ending, Generation, Job, Mkudos, WorkerId
from horde.scheduler.neighbours.courier import Courier
from horde.scheduler.neighbours.ledger import Ledger, LedgerEvent, event_size
from horde.scheduler.neighbours.storage import Storage, commit_size
from horde.scheduler.term import Term
from horde.services import telemetry
from horde.services.failpoints import declare, failpoint

log = telemetry.get_logger(__name__)

AFTER_CLAIM = declare("scheduler.after_claim")
AFTER_HOLDS = declare("scheduler.after_holds")
AFTER_COMMIT_OBJECT = declare("scheduler.after_commit_object")
AFTER_WITHDRAW = declare("scheduler.after_withdraw")
AFTER_SETTLE = declare("scheduler.after_settle")
AFTER_RELEASE = declare("scheduler.after_release")


class Errands:
    """The couriers, one for each kind of call."""

    def __init__(self, term: Term, ledger: Ledger, storage: Storage) -> None:
        self._term = term
        clock = term.clock
        self.ledger: Courier[LedgerEvent, Answer] = Courier(
            "Apply", ledger.apply, self._applied, clock, size=event_size, trace=_trace_of
        )
        self.commits: Courier[Job, CommitAnswer] = Courier(
            "CommitObjects", storage.commit, self._committed, clock, size=commit_size, trace=_trace_of
        )
        self.comparisons: Courier[Job, CompareAnswer] = Courier(
            "CompareObjects", storage.compare, self._compared, clock, max_items=8
        )
        self.discards: Courier[fx.DiscardObject, Answer] = Courier(
            "DiscardObjects", storage.discard, self._discarded, clock
        )
        self.withdrawals: Courier[Job, Answer] = Courier("WithdrawObjects", storage.withdraw, self._withdrawn, clock)
        self.claims: Courier[Generation, Answer] = Courier(
            "ClaimInputs", storage.claim, self._claimed, clock, max_items=8
        )
        self.releases: Courier[Generation, Answer] = Courier("ReleaseInputs", storage.release, self._released, clock)

    def couriers(self) -> list[Courier[Any, Any]]:
        return [
            self.ledger,
            self.commits,
            self.comparisons,
            self.discards,
            self.withdrawals,
            self.claims,
            self.releases,
        ]

    def carriers(self) -> dict[type[fx.Effect], Callable[[Any], None]]:
        """Which effect goes to whom."""
        return {
            fx.PlaceHolds: self.ledger.send,
            fx.Settle: self.ledger.send,
            fx.Release: self.ledger.send,
            fx.RewardUptime: self.ledger.send,
            fx.CommitObject: lambda effect: self.commits.send(effect.job),
            fx.TellVerdict: self.ledger.send,
            fx.ComparePictures: lambda effect: self.comparisons.send(effect.job),
            fx.DiscardObject: self.discards.send,
            fx.WithdrawObject: lambda effect: self.withdrawals.send(effect.job),
            fx.ClaimInputs: lambda effect: self.claims.send(effect.generation),
            fx.ReleaseInputs: lambda effect: self.releases.send(effect.generation),
        }

    async def _applied(self, answered: Sequence[tuple[LedgerEvent, Answer]]) -> None:
        kinds = {type(event) for event, _ in answered}
        for kind, name in ((fx.PlaceHolds, AFTER_HOLDS), (fx.Settle, AFTER_SETTLE), (fx.Release, AFTER_RELEASE)):
            if kind in kinds:
                await failpoint(name)
        term = self._term
        now_ms = term.now_ms()
        for event, answer in answered:
            match event:
                case fx.PlaceHolds(generation):
                    refusal = answer.status if isinstance(answer, Declined) else None
                    accepting.held(term.board, generation, term.now(), refusal)
                    if refusal is not None:
                        judging.refused(term.board, generation)
                case fx.Settle(job) | fx.Release(job):
                    words = b"" if isinstance(answer, (Declined, Again)) else answer.words
                    if isinstance(answer, Recorded):
                        log.error("the ledger has ended it otherwise", job=job.job_id, ending=answer.ending)
                        divided = Amounts(Mkudos(answer.earned), Mkudos(answer.tax), Mkudos(answer.surcharge))
                        worker_id = WorkerId(answer.worker_id)
                        settling.as_recorded(term.board, job, Ending(answer.ending), worker_id, divided)
                    with telemetry.span_from(job.generation.traceparent, "settle", job=job.job_id):
                        if settling.paid(term.board, job, now_ms, words):
                            checking.paid(term.board, job, term.now(), now_ms)
                case fx.TellVerdict(standing, verdict, job_id):
                    if isinstance(answer, Declined):
                        log.error("a verdict was not taken", job=job_id, verdict=verdict, reason=answer.reason)
                    judging.told(term.board, standing, verdict, job_id)
                case fx.RewardUptime():
                    if isinstance(answer, Declined) and answer.reason != "BUDGET_SPENT":
                        log.warning("no uptime reward", worker=event.worker_id, reason=answer.reason)
        term.flush()

    async def _committed(self, answered: Sequence[tuple[Job, CommitAnswer]]) -> None:
        await failpoint(AFTER_COMMIT_OBJECT)
        term = self._term
        for job, answer in answered:
            if isinstance(answer, Committed):
                settling.committed(term.board, job, answer.size_bytes, answer.format, answer.expires_at_ms)
            elif isinstance(answer, Declined):
                log.error("not committed", job=job.job_id, reason=answer.reason, message=answer.message)
                returning.void(term.board, job, term.now(), f"Storage: {answer.reason}")
        term.flush()

    async def _compared(self, answered: Sequence[tuple[Job, CompareAnswer]]) -> None:
        term = self._term
        for job, answer in answered:
            if isinstance(answer, Compared):
                judging.compared(term.board, job, answer.distances, term.now(), term.now_ms())
        term.flush()

    async def _discarded(self, answered: Sequence[tuple[fx.DiscardObject, Answer]]) -> None:
        for effect, _ in answered:
            # Declined means that it will never be possible; its quarantine ends by itself.
            settling.discarded(self._term.board, effect.job, effect.lease_id)
        self._term.flush()

    async def _withdrawn(self, answered: Sequence[tuple[Job, Answer]]) -> None:
        await failpoint(AFTER_WITHDRAW)
        for job, answer in answered:
            if isinstance(answer, Declined):
                log.error("not withdrawn", job=job.job_id, reason=answer.reason, message=answer.message)
            deleting.withdrawn(self._term.board, job)
        self._term.flush()

    async def _claimed(self, answered: Sequence[tuple[Generation, Answer]]) -> None:
        await failpoint(AFTER_CLAIM)
        for generation, answer in answered:
            refusal = answer.status if isinstance(answer, Declined) else None
            accepting.claimed(self._term.board, generation, refusal)
        self._term.flush()

    async def _released(self, answered: Sequence[tuple[Generation, Answer]]) -> None:
        for generation, _ in answered:
            settling.inputs_released(self._term.board, generation)
        self._term.flush()


def _trace_of(item: LedgerEvent | Job) -> str:
    """The trace of whoever asked for what this is about; of what nobody asked for there is none."""
    match item:
        case fx.PlaceHolds(generation):
            return generation.traceparent
        case fx.Settle(job) | fx.Release(job):
            return job.generation.traceparent
        case Job():
            return item.generation.traceparent
        case _:
            return ""
