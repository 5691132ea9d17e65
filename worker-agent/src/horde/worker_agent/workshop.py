"""The work on each lease, from inputs to receipt: one task a lease, painted when the painter begins with it.

It tells a `Listener` what happens and is told when to stop. It holds no stream and decides nothing about leases.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, assert_never

from horde.services.clock import Clock
from horde.services.failpoints import declare, failpoint
from horde.services.loops import Loops
from horde.services.telemetry import get_logger, span_from
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.jobs import (
    Assignment,
    Cancelled,
    Capabilities,
    Censored,
    Failed,
    FailureReason,
    InputId,
    JobId,
    LeaseId,
    Painted,
    Picture,
    RefusalReason,
    Refused,
    Result,
)
from horde.worker_agent.core.leases import Stage
from horde.worker_agent.core.throttle import PREVIEW_INTERVAL_SECONDS, PROGRESS_INTERVAL_SECONDS, Throttle
from horde.worker_agent.doors import StorageDoors, TooManyDoors
from horde.worker_agent.inputs import InputUnavailable, fetch
from horde.worker_agent.painters.port import MAX_PREVIEW_BYTES, Claimed, Drying, Finished, Painter, Work
from horde.worker_agent.spool import Spool, Spooled
from horde.worker_agent.upload import AlreadyUploaded, UploadRefused, upload

log = get_logger(__name__)

BEFORE_PAINTING = declare("worker.before_painting")
BEFORE_SPOOLING = declare("worker.before_spooling")
BEFORE_UPLOADING = declare("worker.before_uploading")
AFTER_RECEIPT = declare("worker.after_receipt")


class Listener(Protocol):
    """Who is told about the work."""

    def advanced(self, lease_id: LeaseId, stage: Stage) -> None: ...
    def stepped(self, lease_id: LeaseId, step: int) -> None: ...
    def wants_preview(self, lease_id: LeaseId) -> bool: ...
    def previewed(self, lease_id: LeaseId, step: int, image: bytes) -> None: ...
    def finished(self, lease_id: LeaseId, result: Result) -> None: ...
    def stopped(self, lease_id: LeaseId, job_id: JobId, step: int) -> None: ...
    def abandoned(self, lease_id: LeaseId) -> None: ...
    def offer(self, capabilities: Capabilities) -> None: ...


@dataclass(slots=True)
class _Bench:
    """The place of one lease's work."""

    lease_id: LeaseId
    job_id: JobId
    steps: int
    has_finishing: bool = False
    """Whether something is done to the painted picture before it is brought."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    begun: bool = False
    at_the_easel: bool = False
    step: int = 0


class _Onlooker:
    """Passes on what a painter says about one lease, no more often than anybody wants to know."""

    def __init__(self, bench: _Bench, listener: Listener, clock: Clock) -> None:
        self._bench = bench
        self._listener = listener
        self._clock = clock
        self._progress = Throttle(PROGRESS_INTERVAL_SECONDS)
        self._previews = Throttle(PREVIEW_INTERVAL_SECONDS)

    def begun(self) -> None:
        self._bench.at_the_easel = True
        # A model that must be loaded first may take longer than a lease lives without a word.
        self._listener.advanced(self._bench.lease_id, Stage.PREPARING)

    def stepped(self, step: int) -> None:
        self._bench.step = step
        if self._progress.passes(self._clock.monotonic()) or step == self._bench.steps:
            self._listener.stepped(self._bench.lease_id, step)
        if step == self._bench.steps and self._bench.has_finishing:
            # No step is told while it is enlarged, which may take longer than a lease lives without a word.
            self._listener.advanced(self._bench.lease_id, Stage.UPLOADING)

    def wants_preview(self) -> bool:
        return self._listener.wants_preview(self._bench.lease_id) and self._previews.ready(self._clock.monotonic())

    def previewed(self, step: int, image: bytes) -> None:
        if len(image) <= MAX_PREVIEW_BYTES and self._previews.passes(self._clock.monotonic()):
            self._listener.previewed(self._bench.lease_id, step, image)


class Workshop:
    """All work that is going on. Where the loops end it is dropped as it is; what is spooled stays for the next run."""

    def __init__(
        self,
        painter: Painter,
        doors: StorageDoors,
        spool: Spool,
        listener: Listener,
        clock: Clock,
        *,
        loops: Loops,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._painter = painter
        self._doors = doors
        self._spool = spool
        self._listener = listener
        self._clock = clock
        self._loops = loops
        self._backoff = backoff
        self._benches: dict[LeaseId, _Bench] = {}
        painter.on_change(lambda: listener.offer(painter.capabilities()))

    def __len__(self) -> int:
        return len(self._benches)

    def begin(self, assignment: Assignment) -> None:
        """Work on a job that was assigned."""
        if assignment.picture is None:
            raise ValueError("a job of a kind that nobody here can do")
        picture = assignment.picture
        bench = _Bench(
            assignment.lease_id, assignment.job_id, picture.steps, has_finishing=bool(picture.post_processors)
        )
        self._open(bench, partial(self._make, bench, assignment, picture))

    def resume(self, spooled: Spooled) -> None:
        """Go on with an upload that an earlier run left."""
        bench = _Bench(spooled.lease_id, spooled.job_id, spooled.steps, step=spooled.steps)
        self._open(bench, partial(self._bring, bench, spooled))

    def stop(self, lease_id: LeaseId) -> None:
        """Stop the work on a lease: at the easel within one step, elsewhere at once."""
        bench = self._benches.get(lease_id)
        if bench is None or bench.cancelled.is_set():
            return
        bench.cancelled.set()
        # A task that has not begun would be cancelled without a trace; it looks at the event first.
        if bench.task is not None and bench.begun and not bench.at_the_easel:
            bench.task.cancel()

    def _open(self, bench: _Bench, work: Callable[[], Awaitable[Result | None]]) -> None:
        self._benches[bench.lease_id] = bench
        bench.task = self._loops.spawn("job", self._attend(bench, work))

    async def _attend(self, bench: _Bench, work: Callable[[], Awaitable[Result | None]]) -> None:
        """See a lease's work to its end, whatever that is."""
        result: Result | None = None
        bench.begun = True
        try:
            if not bench.cancelled.is_set():
                result = await work()
        except asyncio.CancelledError:
            if not bench.cancelled.is_set():
                raise
        except Exception:
            log.exception("the work on a job broke", job=bench.job_id)
            result = Failed(FailureReason.BACKEND, "the agent has a defect; its log says more")
        finally:
            self._benches.pop(bench.lease_id, None)
        if bench.cancelled.is_set():
            self._spool.remove(bench.lease_id)
            self._listener.stopped(bench.lease_id, bench.job_id, bench.step)
        elif result is None:
            self._spool.remove(bench.lease_id)
            self._listener.abandoned(bench.lease_id)
        else:
            # The outcome is on disk when this returns; only then the image may go.
            self._listener.finished(bench.lease_id, result)
            self._spool.remove(bench.lease_id)

    async def _make(self, bench: _Bench, assignment: Assignment, picture: Picture) -> Result | None:
        inputs: dict[InputId, bytes] = {}
        if picture.inputs:
            self._listener.advanced(bench.lease_id, Stage.PREPARING)
            try:
                stub = await self._doors.at(assignment.storage_address)
                inputs = await fetch(stub, picture.inputs, assignment.tickets, self._clock, self._backoff())
            except (InputUnavailable, TooManyDoors) as error:
                return Refused(RefusalReason.INPUT_UNAVAILABLE, str(error))
        await failpoint(BEFORE_PAINTING)
        onlooker = _Onlooker(bench, self._listener, self._clock)
        with span_from(assignment.traceparent, "paint", model=picture.model, steps=picture.steps):
            work = await self._painter.paint(picture, inputs, onlooker, bench.cancelled)
        bench.at_the_easel = False
        self._listener.offer(self._painter.capabilities())
        if bench.cancelled.is_set():
            return None
        if isinstance(work, Drying):
            work = await work.work
        return await self._deliver(bench, assignment, picture, work)

    async def _deliver(self, bench: _Bench, assignment: Assignment, picture: Picture, work: Work) -> Result | None:
        match work:
            case Finished(image, deviations, making):
                spooled = Spooled(
                    lease_id=bench.lease_id,
                    job_id=bench.job_id,
                    grant=assignment.grant,
                    storage_address=assignment.storage_address,
                    traceparent=assignment.traceparent,
                    steps=bench.steps,
                    sha256=hashlib.sha256(image).hexdigest(),
                    deviations=picture.unheard_of + deviations,
                    making=making,
                    image=image,
                )
                await failpoint(BEFORE_SPOOLING)
                try:
                    self._spool.put(spooled)
                except OSError as error:
                    log.warning("the disk does not take an image: a restart would lose it", why=str(error))
                self._listener.advanced(bench.lease_id, Stage.UPLOADING)
                return await self._bring(bench, spooled)
            case Claimed(receipt):
                return Painted(receipt)
            case Refused() | Failed() | Censored():
                return work
            case Cancelled():
                return Failed(FailureReason.BACKEND, "the painter stopped without being told to")
            case _:
                assert_never(work)

    async def _bring(self, bench: _Bench, spooled: Spooled) -> Result | None:
        await failpoint(BEFORE_UPLOADING)
        try:
            stub = await self._doors.at(spooled.storage_address)
            receipt = await upload(
                stub,
                spooled.grant,
                spooled.image,
                bytes.fromhex(spooled.sha256),
                self._clock,
                self._backoff(),
                spooled.traceparent,
            )
        except (UploadRefused, TooManyDoors) as error:
            log.warning("the storage router refuses an image", job=bench.job_id, why=str(error))
            return Failed(FailureReason.UPLOAD_REFUSED, str(error))
        except AlreadyUploaded:
            log.warning("the storage router has another image of this lease", job=bench.job_id)
            return None
        await failpoint(AFTER_RECEIPT)
        return Painted(receipt, spooled.deviations, spooled.making)
