"""Who is calling: from the `authorization` metadata to a principal, and whether it may, and how often.

A verified key is believed for five seconds. Replicas tell each other of revoked ones; where they cannot, that is how
long one may live on. What is remembered is a digest of the header, never the header.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from horde.gateway.core.credentials import (
    AnonymousCredential,
    ApiKeyCredential,
    PassCredential,
    Peppers,
    parse_authorization,
)
from horde.gateway.core.errors import (
    AccountRequired,
    ApiKeyUnknown,
    GenerationNotFound,
    RateLimited,
    RoleMissing,
    ScopeMissing,
    SharedKeyExpired,
)
from horde.gateway.core.rates import Rates
from horde.gateway.core.requesters import ANONYMOUS, Principal, Requester, Role, Scope
from horde.gateway.store.port import IdentityStore
from horde.services.addresses import HasPeer, caller_bucket
from horde.services.clock import Clock
from horde.services.errors import ServiceError, Unauthenticated
from horde.services.rates import Draw, Rate, TooOften
from horde.services.shared.port import Shared
from horde.services.telemetry import get_logger

log = get_logger(__name__)

CACHE_SECONDS = 5.0
MAX_CACHED = 10_000
TOUCH_SECONDS = 30.0

OpenPass = Callable[[PassCredential], Awaitable[Principal]]
Still = Callable[[], Awaitable[float]]
"""Says until when credentials are good, in monotonic seconds; raises when they are no more."""


class CallContext(HasPeer, Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


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
            await self.principal(values)
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
        if shared is None or shared.revoked or not self._peppers.matches(credential, shared.pepper_id, shared.digest):
            raise ApiKeyUnknown
        seconds = CACHE_SECONDS
        if shared.expires_at is not None:
            left = (shared.expires_at - self._clock.now()).total_seconds()
            if left <= 0:
                raise SharedKeyExpired(metadata={"expired_at": f"{shared.expires_at:%Y-%m-%dT%H:%M:%SZ}"})
            seconds = min(seconds, left)
        name = shared.shared_key_id
        return Principal(Requester(shared.account_id), name, shared_key_id=name), seconds, shared.last_used_at

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


VISITOR = Principal(Requester(ANONYMOUS), scopes=frozenset())
"""Somebody without any authorization: nothing belongs to them."""


def _name_of(value: str | bytes) -> bytes:
    """What a header is remembered by."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


class Reception:
    """Lets calls in: who is it, may it, and not too often."""

    def __init__(self, authenticator: Authenticator, shared: Shared, rates: Rates, clock: Clock) -> None:
        self._authenticator = authenticator
        self._shared = shared
        self._rates = rates
        self._clock = clock

    async def anybody(self, context: CallContext, *, passes: bool = False) -> Principal:
        """Any authorization will do; a pass, which opens one generation alone, only where `passes` says so."""
        values = _credentials(context)
        failures = self._rates.address_failures

        async def stranger() -> None:
            # Before the look-up: that is what guessing costs. Who was let in before is not kept out by a neighbour.
            if failures is not None:
                _refuse(await self._shared.look([_failure(context, failures)]))

        try:
            principal = await self._authenticator.principal(values, stranger)
        except Unauthenticated:
            if failures is not None:
                _refuse(await self._shared.admit([_failure(context, failures)]))
            raise
        if principal.pass_of and not passes:
            raise AccountRequired
        rates = self._rates
        if principal.anonymous or principal.pass_of:
            address = caller_bucket(context)
            await self._count("calls", principal, address, rates.anonymous_calls, rates.address_calls)
        else:
            await self._count("calls", principal, "", rates.account_calls)
        return principal

    async def visitor(self, context: CallContext) -> Principal:
        """Any authorization, or none: who shows none may look, and is counted by where the call comes from."""
        if _credentials(context):
            return await self.anybody(context)
        rate = self._rates.address_calls
        if rate is not None:
            draw = Draw(f"calls {caller_bucket(context)}", rate, of_address=True)
            _refuse(await self._shared.admit([draw]))
        return VISITOR

    def still(self, context: CallContext) -> Still:
        """What says, during a long call, until when its credentials are good; raises when they are no more."""
        values = _credentials(context)
        return lambda: self._authenticator.good_until(values)

    async def holder(self, context: CallContext, generation: str) -> tuple[Principal, str]:
        """Somebody who may ask for images, or who came with the pass of this generation; and which that is."""
        principal = await self.anybody(context, passes=True)
        if not principal.pass_of:
            require_scope(principal, Scope.GENERATE)
            return principal, generation
        if generation not in ("", principal.pass_of):
            raise GenerationNotFound(metadata={"generation_id": generation})
        return principal, principal.pass_of

    async def requester(self, context: CallContext) -> Principal:
        """Somebody who may ask for images."""
        principal = await self.anybody(context)
        require_scope(principal, Scope.GENERATE)
        return principal

    async def account(self, context: CallContext, scope: Scope | None = None, role: Role | None = None) -> Principal:
        """An account, with this scope and this role if they are named."""
        principal = await self.owner_or_holder(context, scope)
        if principal.shared_key_id:
            raise AccountRequired
        if role is not None and role not in principal.roles:
            raise RoleMissing(metadata={"role": role.value})
        return principal

    async def owner_or_holder(self, context: CallContext, scope: Scope | None = None) -> Principal:
        """An account, with this scope if it is named, or who came with a shared key of one."""
        principal = await self.anybody(context)
        if principal.anonymous:
            raise AccountRequired
        if scope is not None and not principal.shared_key_id:
            require_scope(principal, scope)
        return principal

    async def count_images(self, principal: Principal, address: str, images: int) -> None:
        """Count images that are asked for; anonymous ones also against where they come from."""
        rates = self._rates
        if principal.anonymous:
            await self._count("images", principal, address, rates.anonymous_images, rates.address_images, images)
        else:
            await self._count("images", principal, address, rates.account_images, None, images)

    async def count_input(self, principal: Principal, address: str) -> None:
        """Count an input that may be put: it takes room until it expires. Anonymous ones also where they come from."""
        rates = self._rates
        if principal.anonymous:
            await self._count("inputs", principal, address, rates.anonymous_inputs, rates.address_inputs)
        else:
            await self._count("inputs", principal, address, rates.account_inputs)

    async def count_report(self, principal: Principal, context: CallContext) -> None:
        """Count a report of an image: somebody has to look at it. Anonymous ones also where they come from."""
        rates, address = self._rates, caller_bucket(context)
        if principal.anonymous:
            await self._count("reports", principal, address, rates.anonymous_reports, rates.address_reports)
        else:
            await self._count("reports", principal, address, rates.account_reports)

    async def count_registration(self, context: CallContext) -> None:
        """Count an account that is opened."""
        rate = self._rates.address_accounts
        if rate is not None:
            draw = Draw(f"accounts {caller_bucket(context)}", rate, of_address=True)
            _refuse(await self._shared.admit([draw]))

    async def _count(
        self,
        kind: str,
        principal: Principal,
        address: str,
        own: Rate | None,
        shared: Rate | None = None,
        weight: int = 1,
    ) -> None:
        """Count against who calls, and (`shared`) against everybody who calls from there."""
        draws = [Draw(f"{kind} {principal.pass_of or principal}", own, weight)] if own else []
        if shared:
            draws.append(Draw(f"{kind} {address}", shared, weight, of_address=True))
        _refuse(await self._shared.admit(draws))


def _refuse(verdict: TooOften | None) -> None:
    if verdict is not None:
        wait = timedelta(seconds=verdict.seconds)
        raise RateLimited(metadata={"limit": str(verdict.draw.rate)}, retry_after=wait)


def _failure(context: CallContext, rate: Rate) -> Draw:
    return Draw(f"failures {caller_bucket(context)}", rate, of_address=True)


def _credentials(context: CallContext) -> list[str | bytes]:
    return [value for key, value in context.invocation_metadata() or () if key == "authorization"]


def require_scope(principal: Principal, scope: Scope) -> None:
    """Raise ScopeMissing unless the key may be used for this."""
    if scope not in principal.scopes:
        raise ScopeMissing(metadata={"scope": scope.value})
