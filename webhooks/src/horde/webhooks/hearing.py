"""Hearing what the ledger enters: kudos that come to somebody, and jobs that end.

Every job that was accepted ends with one entry, and the feed has no gaps: so nothing is missed, whatever was away in
between. The feed is read only while somebody wants to be told of something, and its place is kept together with what
was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC
from random import SystemRandom
from typing import Final

from horde.api.ledger.v1 import ledger_pb2
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.webhooks.core.deliveries import delivery_of
from horde.webhooks.core.webhooks import OF_GENERATIONS, Event
from horde.webhooks.following import Following
from horde.webhooks.neighbours.ledger import Ledger
from horde.webhooks.payloads import body_of, received
from horde.webhooks.sending import Sending
from horde.webhooks.store.port import Heard, WebhookStore

log = telemetry.get_logger(__name__)

KEEP_EVERY: Final = 1_000
"""Entries of no interest, after which the place is kept all the same."""
PAUSE_SECONDS: Final = 2.0
"""At most, until the feed is opened again."""
ENDS: Final = frozenset({ledger_pb2.EVENT_KIND_SETTLE, ledger_pb2.EVENT_KIND_RELEASE})


class Hearing:
    """Listens to the ledger."""

    def __init__(
        self, store: WebhookStore, ledger: Ledger, sending: Sending, following: Following, clock: Clock
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._sending = sending
        self._following = following
        self._clock = clock
        self._wanted = asyncio.Event()
        self._kept = 0
        self._chance = SystemRandom().random

    async def head(self) -> int:
        """How far the ledger is now. Raises Unavailable."""
        return await self._ledger.head()

    def begin(self) -> None:
        """Somebody wants to be told of something."""
        self._wanted.set()

    async def run(self) -> None:
        """Listen while somebody wants it, until cancelled."""
        while True:
            self._wanted.clear()
            try:
                place = await self._store.feed_place()
                if place is None:
                    await self._wanted.wait()
                    continue
                await self._listen(place)
            except ServiceError as error:
                log.warning("the ledger's feed broke", error=str(error))
                await self._clock.sleep(PAUSE_SECONDS * (0.5 + 0.5 * self._chance()))

    async def _listen(self, place: int) -> None:
        """Read on from a place, until nobody wants it any more."""
        self._kept = place
        async with aclosing(self._ledger.entries(place)) as pages:
            async for page in pages:
                await self._take(page)
                if page[-1].sequence - self._kept >= KEEP_EVERY:
                    if await self._store.stop_feed():
                        return
                    await self._keep(Heard(sequence=page[-1].sequence))

    async def _take(self, page: Sequence[ledger_pb2.Entry]) -> None:
        """Keep what somebody wants to be told of."""
        brought = [(entry, received(entry)) for entry in page]
        ended = [entry for entry in page if entry.kind in ENDS and entry.settlement.payer_account_id]
        concerned = {account_id for _, by_owner in brought for account_id in by_owner}
        concerned.update(entry.settlement.payer_account_id for entry in ended)
        webhooks = await self._store.enabled_of(concerned)
        if not webhooks:
            return
        deliveries = [
            delivery_of(webhook, Event.KUDOS_RECEIVED, entry.event_id, body_of(Event.KUDOS_RECEIVED, at, received), now)
            for now in [self._clock.now()]
            for entry, by_account in brought
            for at in [entry.created_at.ToDatetime(UTC)]
            for account_id, received in by_account.items()
            for webhook in webhooks.get(account_id, ())
            if webhook.wants(Event.KUDOS_RECEIVED) and entry.sequence > webhook.after_sequence
        ]
        watched = {
            entry.generation_id: entry.settlement.payer_account_id
            for entry in ended
            for webhook in webhooks.get(entry.settlement.payer_account_id, ())
            if webhook.events & OF_GENERATIONS and entry.sequence > webhook.after_sequence
        }
        if deliveries or watched:
            await self._keep(Heard(deliveries, watched, sequence=page[-1].sequence))
            self._following.add(watched)
            await self._sending.told(deliveries)

    async def _keep(self, heard: Heard) -> None:
        await self._store.hear(heard)
        assert heard.sequence is not None
        self._kept = heard.sequence
