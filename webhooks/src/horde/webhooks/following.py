"""Following generations of which an image has ended: how, and whether all have.

The ledger's entry comes before the scheduler calls a job ended, so the scheduler is asked, over one stream for all of
them. What is followed is kept until all of it is told: after a restart it is followed again, and what is told twice has
one id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
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
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.shares import Pot, Taker
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
SHARES: Final = {"account": 1 / 16}
"""Of what is free, for one account."""
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
        self._room = Pot(MAX_FOLLOWED, SHARES, _full)
        self._waiting: set[str] = set()
        """Accounts of which more is in the database."""
        self._strangers_wait = False
        """There may be others, too, of whom nothing was read."""
        self._wishes: Outbox[str] = Outbox(MAX_FOLLOWED)
        self._woken = asyncio.Event()
        self._chance = SystemRandom().random

    def add(self, watched: Mapping[str, str]) -> None:
        """Images of these have ended, which is kept; whose each is."""
        for generation_id, account_id in watched.items():
            if generation_id in self._followed:
                continue
            try:
                self._room.take(_taker(account_id))
            except ServiceError:
                self._waiting.add(account_id)
                continue
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
        """Take up what is kept: a share of each account's."""
        kept = await self._store.watched(MAX_FOLLOWED + 1, self._share() + 1)
        self._strangers_wait = len(kept) > MAX_FOLLOWED
        self.add(kept)

    def _share(self, account_id: str = "") -> int:
        """How many of an account may be followed as it stands; of one of whom nothing is: without a name."""
        held = self._room.held(("account", account_id))
        share = SHARES["account"]
        # What it holds is a part of what it could have: held + n <= share * (free - n).
        free = MAX_FOLLOWED - self._room.used + held
        return max(1, int(share * free / (1 + share)))

    async def _take_up(self) -> None:
        """Take up more of those who have room again: not one by one, but when half of a share is free."""
        if self._strangers_wait and self._room.used <= MAX_FOLLOWED // 2:
            await self._load()
        ready = [
            account_id
            for account_id in self._waiting
            if self._room.held(("account", account_id)) <= self._share(account_id) // 2
        ]
        if not ready or self._room.used >= MAX_FOLLOWED:
            return
        of_each = max(map(self._share, ready)) + 1
        kept = await self._store.watched(MAX_FOLLOWED, of_each, ready)
        found = Counter(kept.values())
        if len(kept) < MAX_FOLLOWED:
            self._waiting -= {account_id for account_id in ready if found[account_id] < of_each}
        # Whom there is no room for waits again.
        self.add(kept)

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
        deliveries: list[Delivery] = []
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
                        deliveries += _of_image(theirs, generation, image, now)
                    if kind == "finished":
                        deliveries += _of_generation(theirs, generation, now)
                        over.append(event.generation_id)
                case "image" if event.generation_id in self._seen:
                    deliveries += _of_image(theirs, self._seen[event.generation_id], event.image, now)
                case "error":
                    # Its requester has deleted it meanwhile.
                    over.append(event.generation_id)
        if deliveries or over:
            await self._store.hear(Heard(deliveries=deliveries, over=over))
        for generation_id in over:
            account_id = self._followed.pop(generation_id, None)
            if account_id is not None:
                self._room.give_back(_taker(account_id))
            self._seen.pop(generation_id, None)
        await self._sending.told(deliveries)
        if over:
            await self._take_up()

    def _see(self, found: generation_pb2.Generation) -> generation_pb2.Generation:
        generation = generation_pb2.Generation(
            generation_id=found.generation_id, request_id=found.request_id, images=found.images
        )
        self._seen[found.generation_id] = generation
        return generation


def _taker(account_id: str) -> Taker:
    return Taker((("account", account_id),))


def _full(_: str) -> ServiceError:
    return ResourceExhausted()


def _of_image(
    webhooks: Sequence[Webhook], generation: generation_pb2.Generation, image: generation_pb2.Image, now: datetime
) -> list[Delivery]:
    if image.state != job_pb2.JOB_STATE_ENDED:
        return []
    event = Event.IMAGE_ENDED
    body = body_of(event, now, image_ended(generation, image))
    wanted = [webhook for webhook in webhooks if webhook.wants(event, generation.request_id)]
    return [delivery_of(webhook, event, image.job_id, body, now) for webhook in wanted]


def _of_generation(webhooks: Sequence[Webhook], generation: generation_pb2.Generation, now: datetime) -> list[Delivery]:
    event = Event.GENERATION_FINISHED
    body = body_of(event, now, generation_finished(generation))
    wanted = [webhook for webhook in webhooks if webhook.wants(event, generation.request_id)]
    return [delivery_of(webhook, event, generation.generation_id, body, now) for webhook in wanted]
