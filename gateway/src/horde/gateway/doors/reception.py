"""Letting calls in: who is it, may it, and not too often."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

from horde.gateway.core.errors import (
    AccountRequired,
    ApiKeyUnknown,
    GenerationNotFound,
    RateLimited,
    RoleMissing,
    ScopeMissing,
)
from horde.gateway.core.rates import Rates
from horde.gateway.core.requesters import ANONYMOUS, Principal, Requester, Role, Scope
from horde.gateway.doors.authentication import Authenticator, Still
from horde.gateway.doors.calling import CallContext as CallContext
from horde.gateway.doors.calling import credentials_of
from horde.gateway.doors.enforcing import Enforcement
from horde.gateway.doors.misses import Misses
from horde.services.addresses import caller_bucket, caller_peer
from horde.services.clock import Clock
from horde.services.errors import Unauthenticated
from horde.services.rates import Draw, Rate, TooOften
from horde.services.shared.port import Shared

VISITOR = Principal(Requester(ANONYMOUS), scopes=frozenset())
"""Somebody without any authorization: nothing belongs to them."""


class Reception:
    """Lets calls in: who is it, may it, and not too often."""

    def __init__(
        self, authenticator: Authenticator, shared: Shared, rates: Rates, clock: Clock, enforcement: Enforcement
    ) -> None:
        self._authenticator = authenticator
        self._enforcement = enforcement
        self._shared = shared
        self._rates = rates
        self._clock = clock
        self._misses = Misses(rates, clock)

    def looking(self, principal: Principal, context: CallContext) -> AbstractContextManager[None]:
        """A block that looks for what the caller names; NotFound of it is counted."""
        return self._misses.look(principal, caller_bucket(context))

    def found(self, principal: Principal) -> None:
        """Something of the caller's is there now."""
        self._misses.found(principal)

    async def anybody(
        self, context: CallContext, *, passes: bool = False, leaving: bool = False, restricted: bool = False
    ) -> Principal:
        """Any authorization will do; a pass, which opens one generation alone, only where `passes` says so, the key
        with which an account was ended only where `leaving` does, and who is banned only where `restricted` does."""
        values = credentials_of(context)
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
        if principal.closed and not leaving:
            raise ApiKeyUnknown
        if principal.pass_of and not passes:
            raise AccountRequired
        if not restricted:
            self._enforcement.check_call(principal.account_id, caller_peer(context))
        rates = self._rates
        if principal.anonymous or principal.pass_of:
            address = caller_bucket(context)
            await self._count("calls", principal, address, rates.anonymous_calls, rates.address_calls)
        else:
            await self._count("calls", principal, "", rates.account_calls)
        return principal

    async def visitor(self, context: CallContext) -> Principal:
        """Any authorization, or none: who shows none may look, and is counted by where the call comes from."""
        if credentials_of(context):
            return await self.anybody(context)
        self._enforcement.check_call("", caller_peer(context))
        rate = self._rates.address_calls
        if rate is not None:
            draw = Draw(f"calls {caller_bucket(context)}", rate, of_address=True)
            _refuse(await self._shared.admit([draw]))
        return VISITOR

    def still(self, context: CallContext) -> Still:
        """What says, during a long call, until when its credentials are good; raises when they are no more."""
        values = credentials_of(context)
        return lambda: self._authenticator.good_until(values)

    async def leaver(self, context: CallContext) -> Principal:
        """An account that may be managed, or was ended with this very key."""
        principal = await self.anybody(context, leaving=True, restricted=True)
        if principal.anonymous or principal.shared_key_id:
            raise AccountRequired
        require_scope(principal, Scope.MANAGE)
        return principal

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
        """Somebody who may see what was asked for."""
        principal = await self.anybody(context)
        require_scope(principal, Scope.GENERATE)
        return principal

    async def asking(self, context: CallContext) -> Principal:
        """Somebody who may ask for images, now."""
        principal = await self.requester(context)
        self._enforcement.check_asking(principal, caller_peer(context))
        return principal

    async def account(
        self, context: CallContext, scope: Scope | None = None, role: Role | None = None, *, restricted: bool = False
    ) -> Principal:
        """An account, with this scope and this role if they are named; also a banned one where `restricted` says so."""
        principal = await self.owner_or_holder(context, scope, restricted=restricted)
        if principal.shared_key_id:
            raise AccountRequired
        if role is not None and role not in principal.roles:
            raise RoleMissing(metadata={"role": role.value})
        return principal

    async def owner_or_holder(
        self, context: CallContext, scope: Scope | None = None, *, restricted: bool = False
    ) -> Principal:
        """An account, with this scope if it is named, or who came with a shared key of one."""
        principal = await self.anybody(context, restricted=restricted)
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
        self._enforcement.check_call("", caller_peer(context))
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


def require_scope(principal: Principal, scope: Scope, *others: Scope) -> None:
    """Raise ScopeMissing unless the key has this scope, or one of the others that will do."""
    if principal.scopes.isdisjoint({scope, *others}):
        raise ScopeMissing(metadata={"scope": scope.value})
