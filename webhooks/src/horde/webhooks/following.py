"""Following generations of which an image has ended: how, and whether all have.

The ledger's entry comes before the scheduler calls a job ended, so the scheduler is asked, over one stream for all of
them. What is followed is kept until all of it is told: after a restart it is followed again, and what is told twice has
one id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from random import SystemRandom
from typing import Final

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.streams import Outbox, OutboxClosed
from horde.webhooks.core.deliveries import Delivery, delivery_of
from horde.webhooks.core.webhooks import Event, Webhook
from horde.webhooks.neighbours.scheduler import Scheduler, wish
from horde.webhooks.payloads import body_of, generation_finished, image_ended
from horde.webhooks.sending import Sending
from horde.webhooks.store.port import Heard, WebhookStore

log = telemetry.get_logger(__name__)

MAX_FOLLOWED: Final = 20_000
"""Generations at once; the others wait in the database until some of these are over."""
PAUSE_SECONDS: Final = 2.0
"""At most, until the stream is opened again."""


class Following:
    """Listens to the scheduler."""

    def __init__(self, store: WebhookStore, scheduler: Scheduler, sending: Sending, clock: Clock) -> None:
        self._store = store
        self._scheduler = scheduler
        self._sending = sending
        self._clock = clock
        self._followed: dict[str, str] = {}
        """Whose each is."""
        self._seen: dict[str, generation_pb2.Generation] = {}
        """As they are, once the scheduler has said so: without what was asked for."""
        self._more = False
        """There may be others in the database."""
        self._wishes: Outbox[str] = Outbox(MAX_FOLLOWED)
        self._woken = asyncio.Event()
        self._chance = SystemRandom().random

    def add(self, watched: Mapping[str, str]) -> None:
        """Images of these have ended, which is kept; whose each is."""
        for generation_id, account_id in watched.items():
            if generation_id in self._followed:
                continue
            if len(self._followed) >= MAX_FOLLOWED:
                self._more = True
                break
            self._followed[generation_id] = account_id
            self._wish(generation_id)
        self._woken.set()

    def _wish(self, generation_id: str) -> None:
        try:
            self._wishes.put_nowait(generation_id)
        except OutboxClosed:
            # The stream is broken: with the next one all are followed again.
            return

    async def run(self) -> None:
        """Listen while there is something to follow, until cancelled."""
        while True:
            try:
                await self._load()
                if not self._followed:
                    self._woken.clear()
                    await self._woken.wait()
                await self._listen()
            except ServiceError as error:
                log.warning("the scheduler's stream broke", error=str(error))
            await self._clock.sleep(PAUSE_SECONDS * (0.5 + 0.5 * self._chance()))

    async def _load(self) -> None:
        """Take up what is kept."""
        kept = await self._store.watched(MAX_FOLLOWED + 1)
        self._more = len(kept) > MAX_FOLLOWED
        self._followed = dict(list(kept.items())[:MAX_FOLLOWED]) | self._followed

    async def _listen(self) -> None:
        self._wishes = Outbox(2 * MAX_FOLLOWED)
        self._seen.clear()
        for generation_id in self._followed:
            self._wishes.put_nowait(generation_id)
        try:
            async with aclosing(self._scheduler.follow(self._ask())) as batches:
                async for events in batches:
                    await self._take(events)
        finally:
            self._wishes.close()

    async def _ask(self) -> AsyncIterator[scheduler_pb2.FollowRequest]:
        while wishes := await self._wishes.drain():
            for generation_id in wishes:
                if (account_id := self._followed.get(generation_id)) is not None:
                    yield wish(generation_id, account_id)

    async def _take(self, events: Sequence[scheduler_pb2.FollowedEvent]) -> None:
        """Keep what is to be told of what the scheduler has said."""
        now = self._clock.now()
        accounts = {self._followed[event.generation_id] for event in events if event.generation_id in self._followed}
        webhooks = await self._store.enabled_of(accounts)
        told: list[Delivery] = []
        over: list[str] = []
        for event in events:
            account_id = self._followed.get(event.generation_id)
            if account_id is None:
                continue
            theirs = webhooks.get(account_id, ())
            match event.WhichOneof("event"):
                case "snapshot" | "finished" as kind:
                    found: scheduler_pb2.SchedulerGeneration = getattr(event, kind)
                    generation = self._see(found.generation)
                    for image in generation.images:
                        told += _of_image(theirs, generation, image, now)
                    if kind == "finished":
                        told += _of_generation(theirs, generation, now)
                        over.append(event.generation_id)
                case "image" if event.generation_id in self._seen:
                    told += _of_image(theirs, self._seen[event.generation_id], event.image, now)
                case "error":
                    # Its requester has deleted it meanwhile.
                    over.append(event.generation_id)
        if told or over:
            await self._store.hear(Heard(deliveries=told, over=over))
        for generation_id in over:
            self._followed.pop(generation_id, None)
            self._seen.pop(generation_id, None)
        await self._sending.told(told)
        if over and self._more and len(self._followed) < MAX_FOLLOWED // 2:
            kept = await self._store.watched(MAX_FOLLOWED + 1)
            self._more = len(kept) > MAX_FOLLOWED
            self.add(kept)

    def _see(self, found: generation_pb2.Generation) -> generation_pb2.Generation:
        generation = generation_pb2.Generation(
            generation_id=found.generation_id, request_id=found.request_id, images=found.images
        )
        self._seen[found.generation_id] = generation
        return generation


def _of_image(
    webhooks: Sequence[Webhook], generation: generation_pb2.Generation, image: generation_pb2.Image, now: datetime
) -> list[Delivery]:
    if image.state != job_pb2.JOB_STATE_ENDED:
        return []
    event = Event.IMAGE_ENDED
    body = body_of(event, now, image_ended(generation, image))
    wanted = [webhook for webhook in webhooks if webhook.wants(event, now, generation.request_id)]
    return [delivery_of(webhook, event, image.job_id, body, now) for webhook in wanted]


def _of_generation(webhooks: Sequence[Webhook], generation: generation_pb2.Generation, now: datetime) -> list[Delivery]:
    event = Event.GENERATION_FINISHED
    body = body_of(event, now, generation_finished(generation))
    wanted = [webhook for webhook in webhooks if webhook.wants(event, now, generation.request_id)]
    return [delivery_of(webhook, event, generation.generation_id, body, now) for webhook in wanted]
