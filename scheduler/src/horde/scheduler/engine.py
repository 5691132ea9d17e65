"""The engine: it owns time, and carries out what the core wants done.

Whatever happens (a call, a worker's word, a neighbour's answer, a deadline) changes the board; then `flush` brings jobs
and workers together, does what is to be done at once, wakes the saver for what must be durable first, and sets the one
timer to the next deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Any

from opentelemetry import metrics

from horde.scheduler.core import due, lending, reload, rows, uptime
from horde.scheduler.core import effects as fx
from horde.scheduler.core.board import Board, Limits
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.owner_rows import strike_from
from horde.scheduler.doors import wire, wire_worker
from horde.scheduler.doors.deleting import Deleting
from horde.scheduler.doors.fleet_reading import FleetReading
from horde.scheduler.doors.follow import Followers
from horde.scheduler.doors.grants import Grants
from horde.scheduler.doors.owners import Owners
from horde.scheduler.doors.reading import Reading
from horde.scheduler.doors.relay import Relays
from horde.scheduler.doors.scaling import Scaler
from horde.scheduler.doors.settled_reading import SettledReading
from horde.scheduler.doors.submitting import Submitting
from horde.scheduler.gauges import Gauges
from horde.scheduler.janitor import DAY_MS, KNOWN_DAYS
from horde.scheduler.meters import CheckMeters
from horde.scheduler.neighbours.errands import Errands
from horde.scheduler.neighbours.ledger import Ledger
from horde.scheduler.neighbours.storage import Storage
from horde.scheduler.store.port import Store
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term
from horde.services import telemetry
from horde.services.clock import Clock, Timer
from horde.services.failpoints import declare, failpoint_sync
from horde.services.ids import Ids
from horde.services.loops import Loops

log = telemetry.get_logger(__name__)

AFTER_MATCH = declare("scheduler.after_match")
HOLD = 0.008
"""Seconds that matching may hold the loop; what is left is done after others have had their turn."""
WAITS_PAUSE = 1.0
"""Seconds between two estimates for the same follower; nothing is done while nobody follows."""
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
        loops: Loops,
        *,
        epoch: int,
        limits: Limits | None = None,
        commit_pause: float = 0.0,
        write_behind: float = 0.005,
    ) -> None:
        self.board = Board(epoch, limits)
        self.term = term = Term(self.board, store, clock)
        term.flush = self.flush
        self.board.checks.chance = SystemRandom().random
        self._clock = clock
        self._loops = loops
        self.followers = Followers(self.board.fleet.name_of)
        self.saver = Saver(self.board, store, clock, self.followers, commit_pause, write_behind)
        self.relays = Relays(term, grants)
        self.scaler = Scaler(self.board, clock)
        self.errands = Errands(term, ledger, storage)
        self.submitting = Submitting(term, self.saver, ids)
        estimates = Estimates(self.board)
        self.reading = Reading(term, self.saver, self.submitting, self.followers, estimates, storage)
        self.deleting = Deleting(term, self.saver, self.reading)
        self.fleet_reading = FleetReading(term, self.saver, estimates)
        self.settled_reading = SettledReading(store)
        self.owners = Owners(term, self.saver)
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._uptime: Timer | None = None
        self._waits: Timer | None = None
        self._next_slice: Timer | None = None
        # Counting costs as much as a list of all models: only where somebody watches.
        self._gauges = Gauges(self.board, self.fleet_reading) if telemetry.rpc is not None else None
        self._goes_on = False
        self._missed = 0
        # Told from the beginning: whoever watches its increase would not see a first value appear.
        MISSED.add(0)
        self._meters = CheckMeters()
        self._do: dict[type[fx.Effect], Callable[[Any], None]] = {
            fx.Welcome: self.relays.welcome,
            fx.SayTerms: self.relays.terms,
            fx.SayIdle: self.relays.idle,
            fx.Revoke: self.relays.revoke,
            fx.EndSession: self.relays.end,
            fx.Assign: self.relays.assign,
            fx.SaySettled: self.relays.settled,
            fx.Answer: lambda effect: self.submitting.answer(effect.generation),
            fx.Forgotten: lambda effect: self.submitting.forgotten(effect.generation, effect.refusal),
            fx.Progressed: lambda effect: self.followers.progressed(effect.lease),
            **self.errands.carriers(),
        }

    async def load(self) -> None:
        """Read back what an earlier process left."""
        term = self.term
        moment = rows.Moment(term.now(), term.now_ms())
        reload.owners(self.board, await term.store.owners(moment.now_ms - KNOWN_DAYS * DAY_MS))
        known = await term.store.workers(moment.now_ms - KNOWN_DAYS * DAY_MS)
        await self._in_turns(reload.workers(self.board, known, wire_worker.capabilities_from))
        stored_ones = await term.store.live()
        # A clock that is behind what was written already is wrong: nothing lives longer for it.
        newest = max((stored.generation["accepted_at_ms"] for stored in stored_ones), default=0)
        moment = rows.Moment(moment.now, max(moment.now_ms, newest))
        struck = await term.store.strikes(moment.now_ms - KNOWN_DAYS * DAY_MS)
        self.board.strikes.restore(strike_from(row, moment) for row in struck)
        generations = (
            rows.generation_from(
                stored, wire.terms_from_bytes(stored.generation["spec"], stored.generation["quote"]), moment
            )
            for stored in stored_ones
        )
        await self._in_turns(reload.generations(self.board, generations, moment.now))
        log.info("leading", epoch=self.board.epoch, generations=len(stored_ones))

    async def _in_turns(self, steps: Iterator[None]) -> None:
        """Take all steps, and let others have their turns: a leader that does not say that it is there is none."""
        until = self.term.now() + HOLD
        for _ in steps:
            if self.term.now() >= until:
                await asyncio.sleep(0)
                until = self.term.now() + HOLD

    def start(self) -> None:
        """Begin to write and to carry. The saver's loop ends by NotLeader when another has taken over."""
        self._look_who_is_there()
        self._tell_waits()
        self.flush()
        self._loops.start("saver", self.saver.run(self.carry_out, self.submitting.taken))
        for courier in self.errands.couriers():
            self._loops.start(f"courier {courier.name}", courier.run())

    def flush(self) -> None:
        """After the board has changed: match, carry out, wake the saver, set the timer."""
        try:
            self._flush()
        except Exception as error:
            # Effects that were not carried out are lost, and nobody would ask for them again: the next start does.
            self._loops.fail("engine", error)
            raise

    def _flush(self) -> None:
        board, until, matched = self.board, self.term.now() + HOLD, False
        while board.effects or board.fresh or board.fleet.hungry:
            self._carry_out_now()
            if not (board.fresh or board.fleet.hungry):
                continue
            if matched and self.term.now() >= until:
                # Ten thousand workers may have become free at once: others have their turn, then it goes on.
                if not self._goes_on:
                    self._goes_on = True
                    self._next_slice = self._call_later(0.0, self._go_on)
                break
            lending.match(board, self.term.now())
            matched = True
            failpoint_sync(AFTER_MATCH)
        if board.missed > self._missed:
            log.error("a job waited beside an idle worker that could paint it", count=board.missed - self._missed)
            MISSED.add(board.missed - self._missed)
            self._missed = board.missed
        self._meters.tell(board.checks)
        self.saver.wake()
        at = board.deadlines.next()
        if at is not None and at < self._timer_at:
            self._set_timer(at)

    def _go_on(self) -> None:
        self._goes_on = False
        self.flush()

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_later(seconds, self._loops.guarded("clockwork", callback))

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
        self._timer = self._call_later(max(0.0, at - self.term.now()), self._tick)

    def _tick(self) -> None:
        self._timer_at = float("inf")
        due.look(self.board, self.term.now())
        self.flush()
        at = self.board.deadlines.next()
        if at is not None and at < self._timer_at:
            self._set_timer(at)

    def _look_who_is_there(self) -> None:
        now_ms = self.term.now_ms()
        self._uptime = self._call_later(uptime.until_next(now_ms), self._look_who_is_there)
        uptime.look(self.board, now_ms)
        self.flush()

    def _tell_waits(self) -> None:
        if self._waits is not None:
            self.reading.tell_waits()
        if self._gauges is not None:
            self._gauges.refresh()
        self._waits = self._call_later(WAITS_PAUSE, self._tell_waits)

    async def farewell(self) -> None:
        """Let the streams end: gateways come back, and follow again."""
        self.relays.close()
        self.followers.close()
        self.scaler.leave()

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
    async with Loops() as loops:
        engine = Engine(store, ledger, storage, grants, clock, ids, loops, epoch=epoch, **options)
        await engine.load()
        engine.start()
        try:
            yield engine
        finally:
            engine.close()
