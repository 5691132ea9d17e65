"""Restrictions in force: who is kept out now, at every gateway within seconds.

What holds is kept here and found in a few steps, for it is asked at every call. The database is looked at every
POLL_SECONDS for what has changed; where replicas share a Redis they tell each other to look at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from horde.gateway.core.requesters import Principal
from horde.gateway.core.restrictions import InForce, Restriction, Target, TargetKind
from horde.gateway.store.port import RulingStore
from horde.services.addresses import address_of
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.shared.port import Shared
from horde.services.telemetry import get_logger

log = get_logger(__name__)

TOPIC = "restricted"
"""On which replicas tell each other to look."""
POLL_SECONDS = 2.0
MARGIN = timedelta(seconds=60)
"""Clocks of gateways differ, and what another one wrote may carry an earlier time."""


class Lent(Protocol):
    """A worker's session, as far as restrictions go."""

    account_id: str
    worker_id: str
    peer: str


class Enforcement:
    """All that holds here."""

    def __init__(self, store: RulingStore, shared: Shared, clock: Clock) -> None:
        self._store = store
        self._shared = shared
        self._clock = clock
        self._in_force = InForce()
        self._looked_at = clock.now()
        self._wanted = asyncio.Event()
        self._changed: list[Callable[[], None]] = []
        shared.subscribe(TOPIC, lambda news: self._wanted.set())

    def on_change(self, then: Callable[[], None]) -> None:
        """Have something done whenever what holds has changed."""
        self._changed.append(then)

    async def load(self) -> None:
        """Know all that holds; before the first call is taken."""
        self._looked_at = self._clock.now()
        for restriction in await self._store.restrictions_in_force(self._looked_at):
            self._in_force.put(restriction, self._looked_at)

    async def run(self) -> None:
        """Take in what others decided, and forget what is over. Runs until cancelled."""
        while True:
            self._wanted.clear()
            timer = self._clock.call_later(POLL_SECONDS, self._wanted.set)
            try:
                await self._wanted.wait()
            finally:
                timer.cancel()
            await self._look()

    async def _look(self) -> None:
        now = self._clock.now()
        try:
            found = await self._store.restrictions_changed(self._looked_at - MARGIN)
        except ServiceError as error:
            log.warning("restrictions could not be looked at", error=str(error))
            return
        self._looked_at = now
        changed = [self._in_force.put(restriction, now) for restriction in found]
        if any([*changed, self._in_force.expire(now)]):
            self._tell()

    def decided(self, restriction: Restriction) -> None:
        """Something was decided here: it holds here at once, and elsewhere as soon as they hear."""
        if self._in_force.put(restriction, self._clock.now()):
            self._tell()
        self._shared.publish(TOPIC, b"look")

    def _tell(self) -> None:
        for then in self._changed:
            then()

    def of(self, targets: list[Target], peer: str) -> list[Restriction]:
        """All that hold for these, and for a peer's address."""
        now = self._clock.now()
        targets = [*targets, *self._in_force.networks(address_of(peer))]
        return [
            restriction for target in targets for restriction in self._in_force.of(target) if restriction.holds(now)
        ]

    def check_call(self, account_id: str, peer: str) -> None:
        """Raise Restricted where this requester, or this address, is banned."""
        if len(self._in_force):
            self._refuse(self._asking(account_id, peer), bans_only=True)

    def check_asking(self, principal: Principal, peer: str) -> None:
        """Raise Restricted where this one may not ask for images: paused as well as banned."""
        if len(self._in_force):
            self._refuse(self._asking(principal.account_id, peer), bans_only=False)

    def ban_of(self, account_id: str, peer: str) -> Restriction | None:
        """What bans a requester or an address."""
        return self._in_force.find(self._asking(account_id, peer), self._clock.now(), bans_only=True)

    def on_worker(self, worker: Lent) -> Restriction | None:
        """What holds for a worker, its owner or its address: a ban before a pause."""
        if not len(self._in_force):
            return None
        targets = [
            Target(TargetKind.WORKER, worker.worker_id),
            Target(TargetKind.OWNER, worker.account_id),
            *self._in_force.networks(address_of(worker.peer)),
        ]
        return self._in_force.find(targets, self._clock.now(), bans_only=False)

    def _asking(self, account_id: str, peer: str) -> list[Target]:
        return [Target(TargetKind.REQUESTER, account_id), *self._in_force.networks(address_of(peer))]

    def _refuse(self, targets: list[Target], *, bans_only: bool) -> None:
        found = self._in_force.find(targets, self._clock.now(), bans_only=bans_only)
        if found is not None:
            raise found.refusal()
