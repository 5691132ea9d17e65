"""Watching: one stream from the scheduler for everybody who watches here.

Each followed generation is kept as it is now, so that a second watcher begins at once. Every watcher first gets all of
it, then what changes; versions never go backwards, progress counts only for the lease that an image is lent under, and
after `finished` it is over. When the scheduler's stream breaks, watchers stay, and hear only what is new afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.job.v1 import job_pb2
from horde.gateway.core import seats
from horde.gateway.core.errors import NeighbourUnavailable
from horde.gateway.core.requesters import Requester
from horde.gateway.core.restrictions import Restriction
from horde.gateway.core.waits import Waits
from horde.gateway.doors import wire
from horde.gateway.doors.generations import not_found
from horde.gateway.doors.preview_news import PreviewNews
from horde.gateway.doors.tickets import Tickets
from horde.gateway.doors.watcher import LATER, SOON, Told, Watcher
from horde.gateway.neighbours.exchange import Line, Stream, keep
from horde.gateway.neighbours.refusals import outward
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.addresses import address_bucket
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.loops import Loops
from horde.services.status import from_status
from horde.services.streams import Outbox, OutboxClosed
from horde.services.telemetry import get_logger

log = get_logger(__name__)

SNAPSHOT_SECONDS = 10.0
"""How long a watcher waits for its first snapshot while the scheduler is away."""
MAX_WISHES = 20_000
MAX_VERIFICATIONS = 3
PATIENCE = {job_pb2.JOB_STATE_ENDED: 0.0, job_pb2.JOB_STATE_SETTLING: 0.25}
"""Seconds that a state may wait for the next one: an end is told at once, and settling is seldom worth a word."""


class Source(Protocol):
    """What is needed of the scheduler."""

    def follow(self) -> Stream:
        """Open the stream."""

    async def get(self, ref: scheduler_pb2.GenerationRef) -> scheduler_pb2.SchedulerGeneration:
        """A generation of a requester; raises GENERATION_NOT_FOUND."""


class _Followed:
    """A generation that somebody watches, as it is now."""

    def __init__(self, asked_by: Requester) -> None:
        self.requester = asked_by
        """Whose it is once there is a snapshot; until then, who says so."""
        self.known: scheduler_pb2.SchedulerGeneration | None = None
        self.stale = False
        """The stream broke: events count again after the next snapshot."""
        self.watchers: set[Watcher] = set()
        self.resolved = asyncio.Event()
        self.verifications = 0
        self.waits = Waits()

    def image(self, job_id: str) -> generation_pb2.Image | None:
        if self.known is not None:
            for image in self.known.generation.images:
                if image.job_id == job_id:
                    return image
        return None


class Watching:
    """Everybody who watches here."""

    def __init__(
        self,
        scheduler: Source,
        tickets: Tickets,
        previews: PreviewNews,
        clock: Clock,
        *,
        max_watchers: int,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        self._scheduler = scheduler
        self._tickets = tickets
        self._previews = previews
        self._clock = clock
        self._seats = seats.watch_seats(max_watchers)
        self._snapshot_seconds = snapshot_seconds
        self._followed: dict[str, _Followed] = {}
        self._watchers: dict[Watcher, tuple[str, str]] = {}
        """With the account and the peer of each."""
        self._line: Line[scheduler_pb2.FollowRequest] | None = None
        self._loops = Loops()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._watchers)

    async def watch(
        self, requester: Requester, generation_id: str, *, previews: bool, peer: str = "", by_pass: bool = False
    ) -> AsyncGenerator[Told, None]:
        """All about a generation until it is finished. Raises GenerationNotFound, also for what is another's."""
        if self._stopped:
            raise NeighbourUnavailable
        taker = seats.watcher(requester, generation_id, address_bucket(peer), by_pass=by_pass)
        with self._seats.tab(taker) as seat:
            seat.take(1)
            watching = Watcher(self._clock, previews=previews)
            self._watchers[watching] = requester.account_id, peer
            try:
                await self._join(requester, generation_id, watching)
                async with aclosing(watching.heard()) as heard:
                    async for message in heard:
                        yield message
            finally:
                del self._watchers[watching]
                self._leave(generation_id, watching)

    async def farewell(self) -> None:
        """Send everybody away: they watch again, elsewhere."""
        self._stopped = True
        for watcher in tuple(self._watchers):
            watcher.fail(NeighbourUnavailable("This gateway is stopping; watch again."))

    def look_at_bans(self, ban_of: Callable[[str, str], Restriction | None]) -> None:
        """Send those away who are banned now, by account and peer."""
        for watcher, (account_id, peer) in tuple(self._watchers.items()):
            if (ban := ban_of(account_id, peer)) is not None:
                watcher.fail(ban.refusal())

    async def run(self) -> None:
        """Keep the stream to the scheduler, and tell what it says. Runs until cancelled."""
        async with self._loops:
            await keep("follow", self._follow, self._clock)

    async def _follow(self) -> None:
        line = Line[scheduler_pb2.FollowRequest](MAX_WISHES)
        for generation_id, followed in self._followed.items():
            followed.stale = True
            line.outbox.put_nowait(_follow_request(generation_id, followed.requester))
        self._line = line
        try:
            await line.carry(self._scheduler.follow(), _write, self._heard)
        finally:
            self._line = None

    def _heard(self, response: scheduler_pb2.FollowResponse) -> None:
        for event in response.events:
            self._happened(event)

    def _wish(self, request: scheduler_pb2.FollowRequest) -> None:
        """Tell the scheduler what is followed. While it is away nothing is lost: all is told again on its return."""
        if self._line is not None:
            try:
                self._line.outbox.put_nowait(request)
            except OutboxClosed:
                return
            except ResourceExhausted:
                # It takes nothing any more: better to begin anew than to wait for it with half of the wishes.
                self._line.hang_up()

    async def _join(self, requester: Requester, generation_id: str, watcher: Watcher) -> None:
        """Make it a watcher, with a snapshot first."""
        try:
            async with asyncio.timeout(self._snapshot_seconds):
                followed = await self._resolve(requester, generation_id, watcher)
        except TimeoutError:
            raise NeighbourUnavailable from None
        if followed.known is None:  # It was finished meanwhile, or failed: the watcher was told.
            return
        if watcher.previews:
            self._previews.watch(generation_id, watcher.show)

    async def _resolve(self, requester: Requester, generation_id: str, watcher: Watcher) -> _Followed:
        """The followed generation, once the scheduler has said whose it is.

        Events name a generation and not who asked. So while somebody's claim to it is not yet answered, others who
        claim it under another identity wait: the answer to a liar must not be taken for the answer to its owner.
        """
        while True:
            followed = self._followed.get(generation_id)
            if followed is None:
                followed = self._followed[generation_id] = _Followed(requester)
                self._wish(_follow_request(generation_id, requester))
            if followed.requester == requester:
                followed.watchers.add(watcher)
                if followed.known is not None:
                    # Also while the stream is being made anew: what is newer will follow, as what happened.
                    self._tell_snapshot(followed, watcher)
                else:
                    await followed.resolved.wait()
                return followed
            if followed.known is not None:
                raise not_found(generation_id)
            await followed.resolved.wait()

    def _leave(self, generation_id: str, watcher: Watcher) -> None:
        self._previews.unwatch(generation_id, watcher.show)
        followed = self._followed.get(generation_id)
        if followed is None or watcher not in followed.watchers:
            return
        followed.watchers.discard(watcher)
        if not followed.watchers:
            followed.resolved.set()
            del self._followed[generation_id]
            self._wish(scheduler_pb2.FollowRequest(unfollow=generation_id))

    def _happened(self, event: scheduler_pb2.FollowedEvent) -> None:
        followed = self._followed.get(event.generation_id)
        if followed is None:
            return
        kind = event.WhichOneof("event")
        if kind == "snapshot":
            self._snapshot(event.generation_id, followed, event.snapshot)
        elif kind == "finished":
            self._finished(event.generation_id, followed, event.finished)
        elif kind == "error":
            verifying = self._verify(event.generation_id, followed, from_status(event.error))
            self._loops.spawn("verify", verifying)
        elif followed.known is None or followed.stale:
            return
        elif kind == "image":
            self._image(followed, event.image)
        elif kind == "progress":
            self._progress(followed, event.progress)
        elif kind == "wait":
            self._wait(followed, event.wait)

    async def _verify(self, generation_id: str, followed: _Followed, error: ServiceError) -> None:
        """Ask as this requester: an error names a generation and not who asked, so it may answer somebody else."""
        followed.verifications += 1
        try:
            await self._scheduler.get(_ref(generation_id, followed.requester))
        except ServiceError as answer:
            error = answer
        else:
            if self._followed.get(generation_id) is followed and followed.verifications <= MAX_VERIFICATIONS:
                self._wish(_follow_request(generation_id, followed.requester))
                return
        if self._followed.get(generation_id) is followed:
            self._drop(generation_id, followed)
        for watcher in followed.watchers:
            watcher.fail(outward(error))

    def _snapshot(self, generation_id: str, followed: _Followed, snapshot: scheduler_pb2.SchedulerGeneration) -> None:
        if wire.requester_of(snapshot.requester) != followed.requester:
            # Cannot be: the scheduler was asked as this requester. Show nothing rather than another's.
            self._drop(generation_id, followed)
            for watcher in followed.watchers:
                watcher.fail(not_found(generation_id))
            return
        if followed.known is None:
            followed.known = scheduler_pb2.SchedulerGeneration()
            followed.known.CopyFrom(snapshot)
            followed.stale = False
            for watcher in followed.watchers:
                self._tell_snapshot(followed, watcher)
        else:
            # After a broken stream: say what is new, as what happened.
            followed.stale = False
            for image in snapshot.generation.images:
                self._image(followed, image)
        followed.resolved.set()
        if snapshot.generation.finished:
            self._finished(generation_id, followed, snapshot)

    def _image(self, followed: _Followed, image: generation_pb2.Image) -> None:
        known = followed.known
        current = followed.image(image.job_id)
        if known is None or current is None or image.version <= current.version:
            return
        current.CopyFrom(image)
        known.generation.version = max(known.generation.version, image.version)
        if image.index < len(known.object_names):
            self._tickets.fill_in_image(current, followed.requester, known.object_names[image.index])
        news = Told(image=current)
        within = PATIENCE.get(image.state, SOON)
        for watcher in followed.watchers:
            watcher.tell("image", image.job_id, news, within=within)

    def _progress(self, followed: _Followed, progress: service_pb2.Progress) -> None:
        image = followed.image(progress.job_id)
        if image is None or image.state != job_pb2.JOB_STATE_LEASED or image.lease_id != progress.lease_id:
            return
        if progress.step <= image.step:
            return
        image.step = progress.step
        news = Told(progress=progress)
        for watcher in followed.watchers:
            watcher.tell("progress", progress.job_id, news, within=LATER)

    def _wait(self, followed: _Followed, wait: service_pb2.ImageWait) -> None:
        image = followed.image(wait.job_id)
        if image is None or image.state != job_pb2.JOB_STATE_QUEUED:
            return
        if not followed.waits.worth_saying(
            wait.job_id, wire.outlook(wait.wait), self._clock.monotonic(), len(self._watchers)
        ):
            return
        image.wait.CopyFrom(wait.wait)
        news = Told(wait=wait)
        for watcher in followed.watchers:
            watcher.tell("wait", wait.job_id, news, within=LATER)

    def _finished(self, generation_id: str, followed: _Followed, finished: scheduler_pb2.SchedulerGeneration) -> None:
        if wire.requester_of(finished.requester) != followed.requester:
            return
        known = scheduler_pb2.SchedulerGeneration()
        known.CopyFrom(finished)
        self._tickets.fill_in(known)
        news = Told(finished=known.generation)
        first = Told(snapshot=known.generation) if followed.known is None else None
        self._drop(generation_id, followed)
        for watcher in followed.watchers:
            if first is not None:
                watcher.tell("snapshot", "", first)
            watcher.finish(news)

    def _drop(self, generation_id: str, followed: _Followed) -> None:
        del self._followed[generation_id]
        followed.resolved.set()

    def _tell_snapshot(self, followed: _Followed, watcher: Watcher) -> None:
        if followed.known is not None:
            self._tickets.fill_in(followed.known)
            watcher.tell("snapshot", "", Told(snapshot=followed.known.generation))


async def _write(stream: Stream, outbox: Outbox[scheduler_pb2.FollowRequest]) -> None:
    async for wish in outbox:
        await stream.write(wish)


def _ref(generation_id: str, requester: Requester) -> scheduler_pb2.GenerationRef:
    return scheduler_pb2.GenerationRef(generation_id=generation_id, requester=wire.requester_message(requester))


def _follow_request(generation_id: str, requester: Requester) -> scheduler_pb2.FollowRequest:
    return scheduler_pb2.FollowRequest(follow=_ref(generation_id, requester))
