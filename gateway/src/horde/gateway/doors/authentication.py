"""Who is calling: from the `authorization` metadata to a principal.

A verified key is believed for five seconds. Replicas tell each other of revoked ones; where they cannot, that is how
long one may live on. What is remembered is a digest of the header, never the header.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime

from horde.gateway.core.credentials import (
    AnonymousCredential,
    ApiKeyCredential,
    PassCredential,
    Peppers,
    parse_authorization,
)
from horde.gateway.core.errors import (
    ApiKeyUnknown,
    SharedKeyExpired,
)
from horde.gateway.core.requesters import ANONYMOUS, Principal, Requester, Scope
from horde.gateway.store.port import IdentityStore
from horde.services.clock import Clock
from horde.services.errors import ServiceError, Unauthenticated
from horde.services.telemetry import get_logger

log = get_logger(__name__)

CACHE_SECONDS = 5.0
MAX_CACHED = 10_000
TOUCH_SECONDS = 30.0

OpenPass = Callable[[PassCredential], Awaitable[Principal]]
Still = Callable[[], Awaitable[float]]
"""Says until when credentials are good, in monotonic seconds; raises when they are no more."""


class Authenticator:
    """Verifies credentials, and remembers for a moment whom it verified."""

    def __init__(self, store: IdentityStore, peppers: Peppers, clock: Clock, open_pass: OpenPass) -> None:
        self._store = store
        self._open_pass = open_pass
        self._peppers = peppers
        self._clock = clock
        self._verified: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._pending: dict[bytes, asyncio.Task[Principal]] = {}
        self._used: dict[str, datetime] = {}
        self._dirty = asyncio.Event()

    async def principal(
        self, values: list[str | bytes], stranger: Callable[[], Awaitable[None]] | None = None
    ) -> Principal:
        """Whose credentials these are; raises the authentication errors of the contract.

        `stranger` is called, and may raise, before a key is looked up that was not found good here before.
        """
        if len(values) == 1 and isinstance(values[0], str):
            name = _name_of(values[0])
            known = self._verified.get(name)
            if known is not None and known[1] > self._clock.monotonic():
                return known[0]
        credential = parse_authorization(values)
        if isinstance(credential, AnonymousCredential):
            return Principal(Requester(ANONYMOUS, credential.digest))
        pending = self._pending.get(name)
        if pending is None:
            if known is None and stranger is not None:
                await stranger()
            # Another call with the same key may have begun meanwhile.
            pending = self._pending.get(name)
        if pending is None:
            pending = self._pending[name] = asyncio.create_task(self._look_up(name, credential))
            pending.add_done_callback(lambda task: self._looked_up(name, task))
        return await asyncio.shield(pending)

    async def good_until(self, values: list[str | bytes]) -> float:
        """When to look at these credentials again, in monotonic seconds; raises what `principal` raises.

        Where the look itself fails they are believed for as long again: nobody is sent away because a database is.
        """
        try:
            if (await self.principal(values)).closed:
                raise ApiKeyUnknown
        except Unauthenticated:
            raise
        except ServiceError as error:
            log.warning("a key could not be looked at again", error=str(error))
            return self._clock.monotonic() + CACHE_SECONDS
        known = self._verified.get(_name_of(values[0]))
        return self._clock.monotonic() if known is None else known[1]

    async def _look_up(self, name: bytes, credential: ApiKeyCredential | PassCredential) -> Principal:
        began = self._clock.monotonic()
        try:
            principal, seconds, last_used_at = await self._found(credential)
        except Unauthenticated:
            self._verified.pop(name, None)
            raise
        self._verified[name] = (principal, began + seconds)
        self._verified.move_to_end(name)
        if len(self._verified) > MAX_CACHED:
            self._verified.popitem(last=False)
        if principal.api_key_id:
            self._note_use(principal.api_key_id, last_used_at)
        return principal

    async def _found(self, credential: ApiKeyCredential | PassCredential) -> tuple[Principal, float, datetime | None]:
        """Whose key it is, for how many seconds to believe it, and when it was last used."""
        if isinstance(credential, PassCredential):
            return await self._open_pass(credential), CACHE_SECONDS, None
        found = await self._store.key(credential.api_key_id)
        if found is not None:
            key, account = found
            if key.revoked or not self._peppers.matches(credential, key.pepper_id, key.digest):
                raise ApiKeyUnknown
            principal = Principal(Requester(account.account_id), key.api_key_id, key.scopes, account.roles)
            return principal, CACHE_SECONDS, key.last_used_at
        shared = await self._store.shared_key(credential.api_key_id)
        if shared is None:
            return await self._leaver(credential), CACHE_SECONDS, None
        if shared.revoked or not self._peppers.matches(credential, shared.pepper_id, shared.digest):
            raise ApiKeyUnknown
        seconds = CACHE_SECONDS
        if shared.expires_at is not None:
            left = (shared.expires_at - self._clock.now()).total_seconds()
            if left <= 0:
                raise SharedKeyExpired(metadata={"expired_at": f"{shared.expires_at:%Y-%m-%dT%H:%M:%SZ}"})
            seconds = min(seconds, left)
        name = shared.shared_key_id
        return Principal(Requester(shared.account_id), name, shared_key_id=name), seconds, shared.last_used_at

    async def _leaver(self, credential: ApiKeyCredential) -> Principal:
        closing = await self._store.closing_by_key(credential.api_key_id)
        if closing is None or not self._peppers.matches(credential, closing.pepper_id, closing.digest):
            raise ApiKeyUnknown
        return Principal(Requester(closing.account_id), closing.api_key_id, frozenset({Scope.MANAGE}), closed=True)

    def _looked_up(self, name: bytes, task: asyncio.Task[Principal]) -> None:
        self._pending.pop(name, None)
        if not task.cancelled():
            task.exception()  # Seen, also where everybody who waited has gone.

    def forget(self, api_key_id: str) -> None:
        """Believe this key no longer: it was revoked here."""
        stale = [name for name, (principal, _) in self._verified.items() if principal.api_key_id == api_key_id]
        for name in stale:
            del self._verified[name]

    def _note_use(self, api_key_id: str, last: datetime | None) -> None:
        now = self._clock.now().replace(second=0, microsecond=0)
        if (last is None or last < now) and len(self._used) < MAX_CACHED:
            self._used[api_key_id] = now
            self._dirty.set()

    async def keep_use(self) -> None:
        """Write down when keys were used, many at once and not often. Runs until cancelled."""
        while True:
            await self._dirty.wait()
            await self._clock.sleep(TOUCH_SECONDS)
            self._dirty.clear()
            used, self._used = self._used, {}
            try:
                await self._store.touch_keys(used)
            except ServiceError as error:
                # A nicety is not worth a failure, nor a retry: the next use notes it again.
                log.warning("the last use of keys was not kept", error=str(error))


def _name_of(value: str | bytes) -> bytes:
    """What a header is remembered by."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()
