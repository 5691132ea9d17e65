"""The engine: it owns time, and carries out what the core wants done.

Whatever happens (a call, a worker's word, a neighbour's answer, a deadline) changes the board; then `flush` brings jobs
and workers together, does what is to be done at once, wakes the saver for what must be durable first, and sets the one
timer to the next deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from opentelemetry import metrics

from horde.api.worker.v1 import worker_service_pb2
from horde.scheduler.core import accepting, due, lending, reload, rows, uptime
from horde.scheduler.core import effects as fx
from horde.scheduler.core.board import Board, Limits
from horde.scheduler.core.job import Generation, JobId
from horde.scheduler.core.outcomes import Result
from horde.scheduler.doors import wire, wire_worker
from horde.scheduler.doors.follow import Followers
from horde.scheduler.doors.grants import Grants
from horde.scheduler.doors.reading import Reading
from horde.scheduler.doors.relay import Relays
from horde.scheduler.doors.submitting import Submitting
from horde.scheduler.neighbours.errands import Errands
from horde.scheduler.neighbours.ledger import Ledger
from horde.scheduler.neighbours.storage import Storage
from horde.scheduler.store.port import Store
from horde.scheduler.store.saver import Saver
from horde.services import telemetry
from horde.services.clock import Clock, Timer
from horde.services.failpoints import declare, failpoint_sync
from horde.services.ids import Ids

log = telemetry.get_logger(__name__)

AFTER_MATCH = declare("scheduler.after_match")
BEFORE_SETTLED = declare("scheduler.before_settled")
HOLD = 0.008
"""Seconds that matching may hold the loop; what is left is done after others have had their turn."""
WAITS_PAUSE = 1.0
"""Seconds between two estimates for the same follower; nothing is done while nobody follows."""
DAY_MS = 24 * 3600 * 1000
MAX_RECALLED = 256
"""Jobs of one query."""
KNOWN_DAYS = 30
"""How long a worker that stays away keeps its speeds, counters and pause; then its row is deleted."""


MISSED = metrics.get_meter("horde.scheduler").create_counter(
    "horde.scheduler.missed", unit="{job}", description="Jobs found beside an idle worker that fits: a defect."
)


class Engine:
    """The scheduler of one leader's term."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        storage: Storage,
        grants: Grants,
        clock: Clock,
        ids: Ids,
        *,
        epoch: int,
        limits: Limits | None = None,
        commit_pause: float = 0.0,
        write_behind: float = 0.005,
    ) -> None:
        self.board = Board(epoch, limits)
        self.store = store
        self.clock = clock
        self._grants = grants
        self.followers = Followers()
        self.relays = Relays(self)
        self.errands = Errands(self, ledger, storage)
        self.submitting = Submitting(self, ids)
        self.reading = Reading(self)
        self.saver = Saver(
            self.board,
            store,
            clock,
            self.followers,
            self.carry_out,
            self.submitting.taken,
            commit_pause,
            write_behind,
        )
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._uptime: Timer | None = None
        self._waits: Timer | None = None
        self._next_slice: Timer | None = None
        self._goes_on = False
        self._missed = 0
        self._do: dict[type[fx.Effect], Callable[[Any], None]] = {
            fx.Welcome: self.relays.welcome,
            fx.Revoke: self.relays.revoke,
            fx.EndSession: self.relays.end,
            fx.Assign: self._assign,
            fx.SaySettled: self._say_settled,
            fx.Answer: lambda effect: self.submitting.answer(effect.generation),
            fx.Forgotten: lambda effect: self.submitting.forgotten(effect.generation, effect.refusal),
            fx.Progressed: lambda effect: self.followers.progressed(effect.lease),
            **self.errands.carriers(),
        }

    def now(self) -> float:
        return self.clock.monotonic()

    def now_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    async def load(self) -> None:
        """Read back what an earlier process left."""
        moment = rows.Moment(self.now(), self.now_ms())
        reload.workers(
            self.board, await self.store.workers(moment.now_ms - KNOWN_DAYS * DAY_MS), wire_worker.capabilities_from
        )
        stored = await self.store.live()
        generations = [
            rows.generation_from(each, wire.terms_from_bytes(each.generation["spec"], each.generation["quote"]), moment)
            for each in stored
        ]
        reload.generations(self.board, generations, moment.now)
        log.info("leading", epoch=self.board.epoch, generations=len(generations))

    async def run(self) -> None:
        """Write and carry for ever; to be cancelled. Raises NotLeader when another has taken over."""
        self._uptime_due()
        self._tell_waits()
        self.flush()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.saver.run())
            for courier in self.errands.couriers():
                group.create_task(courier.run())

    def flush(self) -> None:
        """After the board has changed: match, carry out, wake the saver, set the timer."""
        board, until = self.board, self.now() + HOLD
        while board.effects or board.fresh or board.fleet.hungry:
            self._carry_out_now()
            if not (board.fresh or board.fleet.hungry):
                continue
            if self.now() >= until:
                # Ten thousand workers may have become free at once: others have their turn, then it goes on.
                if not self._goes_on:
                    self._goes_on = True
                    self._next_slice = self.clock.call_later(0.0, self._go_on)
                break
            lending.match(board, self.now())
            failpoint_sync(AFTER_MATCH)
        if board.missed > self._missed:
            log.error("a job waited beside an idle worker that could paint it", count=board.missed - self._missed)
            MISSED.add(board.missed - self._missed)
            self._missed = board.missed
        self.saver.wake()
        at = board.deadlines.next()
        if at is not None and at < self._timer_at:
            self._set_timer(at)

    def _go_on(self) -> None:
        self._goes_on = False
        self.flush()

    def carry_out(self, effects: list[fx.Effect]) -> None:
        """Do what had to wait until it was durable."""
        for effect in effects:
            if type(effect) in self._do:
                self._do[type(effect)](effect)
        self.flush()

    def _carry_out_now(self) -> None:
        effects, self.board.effects = self.board.effects, []
        for effect in effects:
            self._do[type(effect)](effect)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.clock.call_later(max(0.0, at - self.now()), self._tick)

    def _tick(self) -> None:
        self._timer_at = float("inf")
        due.look(self.board, self.now())
        self.flush()
        at = self.board.deadlines.next()
        if at is not None and at < self._timer_at:
            self._set_timer(at)

    def _uptime_due(self) -> None:
        if self._uptime is not None:
            uptime.reward(self.board, self.now_ms())
        self._uptime = self.clock.call_later(uptime.until_next(self.now_ms()), self._uptime_tick)

    def _uptime_tick(self) -> None:
        self._uptime_due()
        self.flush()

    def _tell_waits(self) -> None:
        if self._waits is not None:
            self.reading.tell_waits()
        self._waits = self.clock.call_later(WAITS_PAUSE, self._tell_waits)

    def _assign(self, effect: fx.Assign) -> None:
        lease = effect.lease
        left = timedelta(seconds=max(0.0, lease.job.generation.deadline - self.now()))
        self.relays.put(effect.route, self._grants.assignment(effect.route, lease, self.clock.now(), left))

    def _say_settled(self, effect: fx.SaySettled) -> None:
        failpoint_sync(BEFORE_SETTLED)
        self.relays.put(effect.route, wire_worker.settled_message(effect))

    def read_outcome(self, outcome: worker_service_pb2.Outcome) -> Result:
        """An outcome, its receipt checked."""
        if outcome.HasField("painted"):
            return self._grants.read(outcome, self.clock.now())
        return wire_worker.result_of(outcome)

    async def recall(self, job_ids: Sequence[JobId]) -> frozenset[JobId]:
        """Have jobs in memory that are over, and say which of them are not remembered at all."""
        jobs = self.board.jobs
        unknown = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in jobs]
        found: set[JobId] = set()
        for start in range(0, len(unknown), MAX_RECALLED):
            for stored in await self.store.find_by_jobs(unknown[start : start + MAX_RECALLED]):
                found.update(job.job_id for job in self.remember(stored).jobs)
        return frozenset(unknown) - found

    def remember(self, stored: rows.Stored) -> Generation:
        """Take in something read from the store, unless it is here already."""
        known = self.board.generations.get(stored.generation["generation_id"])
        if known is not None:
            return known
        terms = wire.terms_from_bytes(stored.generation["spec"], stored.generation["quote"])
        generation = rows.generation_from(stored, terms, rows.Moment(self.now(), self.now_ms()))
        self.board.remember(generation)
        return generation

    def held(self, generation: Generation, refusal: bytes | None) -> None:
        """The ledger has answered."""
        accepting.held(self.board, generation, self.now(), refusal)

    async def farewell(self) -> None:
        """Let the streams end: gateways come back, and follow again."""
        self.relays.close()
        self.followers.close()

    def close(self) -> None:
        """Stop the clockwork; what is not written is driven on by the next leader."""
        self.relays.close()
        self.followers.close()
        for timer in (self._timer, self._uptime, self._waits, self._next_slice):
            if timer is not None:
                timer.cancel()


@asynccontextmanager
async def leading(
    store: Store, ledger: Ledger, storage: Storage, grants: Grants, clock: Clock, ids: Ids, **options: Any
) -> AsyncIterator[Engine]:
    """Lead for as long as the block: a new epoch, everything read back, everything driven on."""
    epoch = await store.lead()
    engine = Engine(store, ledger, storage, grants, clock, ids, epoch=epoch, **options)
    await engine.load()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(engine.run())
        try:
            yield engine
        finally:
            engine.close()
            running.cancel()
