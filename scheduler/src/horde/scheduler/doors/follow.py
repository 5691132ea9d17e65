"""Followers: gateways, and the webhooks service, that are told what happens to the generations that they name.

Durable transitions come from the saver, when they are durable; progress and waits come as they are. A follower that
does not read is spared progress first; if even the durable does not fit, its stream ends, and it follows again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from itertools import islice

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.job import Generation, GenerationId, Job
from horde.scheduler.core.leases import Lease
from horde.scheduler.doors import wire
from horde.services.errors import ResourceExhausted
from horde.services.streams import Outbox, OutboxClosed

MAX_EVENTS = 256
"""Of one message."""
MAX_WAITING = 20_000
"""Of one follower; progress is dropped from half of it on."""
MAX_FOLLOWED = 100_000
"""Of one follower."""


class Follower:
    """One stream."""

    def __init__(self) -> None:
        self.durable_only = False
        """It wants to hear neither of progress nor of waits."""
        self.followed: set[GenerationId] = set()
        self.outbox: Outbox[pb.FollowedEvent] = Outbox(MAX_WAITING)

    def put(self, event: pb.FollowedEvent, *, durable: bool = True) -> None:
        """Have it told; what is not durable may be dropped."""
        if not durable and (self.durable_only or len(self.outbox) >= MAX_WAITING // 2):
            return
        try:
            self.outbox.put_nowait(event)
        except OutboxClosed:
            return
        except ResourceExhausted:
            self.outbox.close(ResourceExhausted("This follower does not read."), drop=True)

    async def responses(self) -> AsyncIterator[pb.FollowResponse]:
        """What to say, as it comes."""
        while events := await self.outbox.drain(MAX_EVENTS, pb.FollowedEvent.ByteSize):
            yield pb.FollowResponse(events=events)


class Followers:
    """All gateways' wishes."""

    def __init__(self, names: wire.Names) -> None:
        self._names = names
        self._by_generation: defaultdict[GenerationId, dict[Follower, None]] = defaultdict(dict)
        self._streams: set[Follower] = set()

    def open(self, follower: Follower) -> None:
        """A stream has begun; `drop` ends it."""
        self._streams.add(follower)

    def __len__(self) -> int:
        return len(self._by_generation)

    def __contains__(self, generation_id: GenerationId) -> bool:
        return generation_id in self._by_generation

    def await_waits(self, generation_id: GenerationId) -> bool:
        """Whether anybody wants to hear how long it may take."""
        return not all(follower.durable_only for follower in self._by_generation.get(generation_id, ()))

    def turn(self, limit: int) -> list[GenerationId]:
        """Some of what is followed; next time others."""
        taken = list(islice(self._by_generation, limit))
        if len(taken) < len(self._by_generation):
            for generation_id in taken:
                self._by_generation[generation_id] = self._by_generation.pop(generation_id)
        return taken

    def add(self, generation_id: GenerationId, follower: Follower) -> None:
        if len(follower.followed) >= MAX_FOLLOWED:
            follower.outbox.close()
            return
        follower.followed.add(generation_id)
        self._by_generation[generation_id][follower] = None

    def remove(self, generation_id: GenerationId, follower: Follower) -> None:
        follower.followed.discard(generation_id)
        followers = self._by_generation.get(generation_id)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                del self._by_generation[generation_id]

    def close(self) -> None:
        """Let every follower's stream end."""
        for follower in self._streams:
            follower.outbox.close()

    def drop(self, follower: Follower) -> None:
        self._streams.discard(follower)
        for generation_id in list(follower.followed):
            self.remove(generation_id, follower)

    def publish(self, jobs: list[Job]) -> Callable[[], None] | None:
        """Say transitions that are about to be durable; to be sent when they are."""
        events: list[tuple[GenerationId, pb.FollowedEvent]] = []
        touched: dict[Generation, None] = {}
        for job in jobs:
            generation = job.generation
            if generation.generation_id not in self._by_generation or job.version == job.shown:
                continue
            event = pb.FollowedEvent(generation_id=generation.generation_id)
            wire.fill_image(event.image, job, wire.placement_of(generation.quote), self._names)
            job.shown = job.version
            events.append((generation.generation_id, event))
            touched[generation] = None
        finished = [generation for generation in touched if generation.finished]
        for generation in finished:
            event = pb.FollowedEvent(generation_id=generation.generation_id)
            event.finished.CopyFrom(wire.generation_message(generation, self._names))
            events.append((generation.generation_id, event))
        if not events:
            return None

        def send() -> None:
            for generation_id, event in events:
                self._tell(generation_id, event, durable=True)
            for generation in finished:
                self._over(generation.generation_id)

        return send

    def progressed(self, lease: Lease) -> None:
        """Pass on how far a lease is."""
        generation = lease.job.generation
        if generation.generation_id not in self._by_generation:
            return
        event = pb.FollowedEvent(generation_id=generation.generation_id)
        progress = event.progress
        progress.job_id, progress.lease_id = lease.job.job_id, lease.lease_id
        progress.step, progress.steps = lease.step, generation.terms.steps
        progress.state = int(lease.stage)  # type: ignore[assignment]
        self._tell(generation.generation_id, event, durable=False)

    def waits(self, job: Job, message: pb.FollowedEvent) -> None:
        """Pass on a new estimate."""
        self._tell(job.generation.generation_id, message, durable=False)

    def _tell(self, generation_id: GenerationId, event: pb.FollowedEvent, *, durable: bool) -> None:
        for follower in self._by_generation.get(generation_id, ()):
            follower.put(event, durable=durable)

    def _over(self, generation_id: GenerationId) -> None:
        for follower in list(self._by_generation.get(generation_id, ())):
            self.remove(generation_id, follower)
