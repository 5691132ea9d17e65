"""What holders of shared keys may ask for and see, and what of the keys' budgets their generations have spent.

A generation's price is reserved before the scheduler hears of it, and settled when the generation has ended: so of two
holders at once both never get what the budget reaches for once, and a crash between the two loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.job.v1 import job_pb2
from horde.gateway.core.allowance import Reservation, SharedKey, check_bounds, check_reservation
from horde.gateway.core.errors import (
    ApiKeyUnknown,
    GenerationNotFound,
    InvalidField,
    SharedKeyBound,
    SharedKeyBudgetSpent,
)
from horde.gateway.core.requesters import Principal, Requester, generation_id
from horde.gateway.core.validation import Violations
from horde.gateway.doors import wire
from horde.gateway.doors.generations import Asked
from horde.gateway.doors.listing import DEFAULT_PAGE, MAX_PAGE, check_filters, check_mask, masked
from horde.gateway.neighbours.refusals import RETRY, told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.store.port import IdentityStore
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import AlreadyExists, NotFound, ServiceError
from horde.services.ids import Ids
from horde.services.telemetry import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 30.0
"""Between two looks at everything that is open; whoever needs to know looks at once."""
LOOK_PAGE = 64
COMING_TO_BE = timedelta(minutes=10)
"""Longer than any call of CreateGeneration: a reservation of which nobody knows the generation then was in vain."""
KEPT = timedelta(days=32)
"""Longer than any picture: a generation lives at most one day, its pictures 30."""


class Allowances:
    """Holds generations to the shared keys that they were asked for with."""

    def __init__(self, store: IdentityStore, scheduler: SchedulerClient, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._scheduler = scheduler
        self._clock = clock
        self._ids = ids

    async def check(self, principal: Principal, asked: Asked) -> SharedKey | None:
        """Whether the caller's key reaches for it now; raises SharedKeyBound or SharedKeyBudgetSpent."""
        if not principal.shared_key_id:
            return None
        key = await self._key(principal)
        total = asked.quote.total_mkudos
        check_bounds(key.bounds, asked.spec, total)
        try:
            check_reservation(key, total)
        except (SharedKeyBound, SharedKeyBudgetSpent):
            await self.settle(key.shared_key_id)
            key = await self._key(principal)
            check_reservation(key, total)
        return key

    @asynccontextmanager
    async def reserved(self, principal: Principal, asked: Asked, request_id: str) -> AsyncIterator[None]:
        """Around a creation: its price is set aside of the key's budget, and given back where it is refused.

        What was accepted once stays accepted, whatever became of the key's bounds and budget since.
        """
        if not principal.shared_key_id:
            yield
            return
        key = await self._key(principal)
        total, name = asked.quote.total_mkudos, generation_id(principal, request_id)
        mine = Reservation(name, key.shared_key_id, total, str(self._ids.new()), self._clock.now())
        try:
            check_bounds(key.bounds, asked.spec, total)
            fresh = await self._reserve(mine)
        except (SharedKeyBound, SharedKeyBudgetSpent) as refusal:
            if not await self._accepted(principal, name):
                raise refusal from None
            fresh = False
        try:
            yield
        except ServiceError as error:
            # Where the answer was lost it may have been accepted; where it exists, it was.
            if fresh and not isinstance(error, (*RETRY, AlreadyExists)):
                await self._store.release(name, mine.stamp)
            raise

    async def require(self, principal: Principal, generation: str) -> None:
        """Whether the caller may know of a generation; raises GenerationNotFound. Accounts may know all of theirs."""
        if principal.shared_key_id:
            known = await self._store.reservation(generation[:64])
            if known is None or known.shared_key_id != principal.shared_key_id:
                wrong = Violations()
                wrong.uuid("generation_id", generation)
                if wrong.found:
                    raise InvalidField(violations=wrong.found)
                raise GenerationNotFound(metadata={"generation_id": generation})

    async def page(
        self, principal: Principal, request: service_pb2.ListGenerationsRequest
    ) -> service_pb2.ListGenerationsResponse:
        """A page of what was asked for with one shared key, the caller's or one of its account, newest first."""
        wrong = Violations()
        size = min(wrong.page(request.page_size, request.page_token, MAX_PAGE) or DEFAULT_PAGE, LOOK_PAGE)
        check_mask(wrong, request.read_mask)
        check_filters(wrong, request)
        name = principal.shared_key_id or request.shared_key_id[:64]
        key = await self._store.shared_key(name)
        before = await self._store.reservation(request.page_token) if request.page_token and not wrong.found else None
        if request.page_token and (before is None or before.shared_key_id != name):
            wrong.add("page_token", "is not one that was given out")
        if wrong.found:
            raise InvalidField(violations=wrong.found)
        if key is None or key.account_id != principal.account_id or request.shared_key_id not in ("", name):
            return service_pb2.ListGenerationsResponse()
        found = await self._store.reservations(name, size, before)
        answers = await self._look(principal.requester, found, request)
        shown = []
        for answer in answers:
            # A page may be shorter than was asked for, and empty, and not the last.
            if not isinstance(answer, BaseException):
                await self.tell_owner(principal, answer.generation, FieldMask())
                shown.append(masked(answer.generation, request.read_mask))
        more = found[-1].generation_id if len(found) == size else ""
        return service_pb2.ListGenerationsResponse(generations=shown, next_page_token=more)

    async def tell_owner(self, principal: Principal, generation: generation_pb2.Generation, mask: FieldMask) -> None:
        """Say to an account with which shared key this was asked for, if the mask wants it. Of its own, ids tell."""
        named = not mask.paths or "shared_key_id" in mask.paths
        if principal.anonymous or principal.shared_key_id or not named:
            return
        if generation_id(principal, generation.request_id) == generation.generation_id:
            return
        known = await self._store.reservation(generation.generation_id)
        generation.shared_key_id = "" if known is None else known.shared_key_id

    async def before_deleting(self, principal: Principal, generation: str) -> None:
        """What a shared key has spent on a generation is settled while it can still be seen."""
        await self.require(principal, generation)
        known = await self._store.reservation(generation[:64])
        if known is not None and not known.ended:
            (answer,) = await self._look(principal.requester, [known])
            await self._settle(known, answer)

    async def settle(self, shared_key_id: str = "") -> None:
        """Look at everything that is open, of one key or of all; what has ended is spent."""
        after = ""
        while found := await self._store.open_reservations(after, LOOK_PAGE, shared_key_id):
            after = found[-1].generation_id
            by_account: dict[str, list[Reservation]] = {}
            for reservation in found:
                key = await self._store.shared_key(reservation.shared_key_id)
                if key is not None:
                    by_account.setdefault(key.account_id, []).append(reservation)
            for account_id, own in by_account.items():
                answers = await self._look(Requester(account_id), own)
                for reservation, answer in zip(own, answers, strict=True):
                    await self._settle(reservation, answer)

    async def keep_settled(self) -> None:
        """Settle what nobody asks about. Runs until cancelled."""
        while True:
            try:
                await self.settle()
                await self._store.forget_reservations(self._clock.now() - KEPT)
            except ServiceError as error:
                log.warning("what shared keys have spent was not looked at", error=str(error))
            await self._clock.sleep(LOOK_SECONDS)

    async def _settle(
        self, reservation: Reservation, answer: scheduler_pb2.SchedulerGeneration | BaseException
    ) -> None:
        if isinstance(answer, NotFound):
            if self._clock.now() - reservation.at > COMING_TO_BE:
                await self._store.release(reservation.generation_id, reservation.stamp)
        elif not isinstance(answer, BaseException) and answer.generation.finished:
            await self._store.settle(reservation.generation_id, spent_on(answer.generation))

    async def _look(
        self,
        requester: Requester,
        found: Sequence[Reservation],
        filters: service_pb2.ListGenerationsRequest | None = None,
    ) -> Sequence[scheduler_pb2.SchedulerGeneration | BaseException]:
        """Each generation as it is now, or NotFound, also if it does not hold to filters. Raises what else is said."""
        whose = wire.requester_message(requester)
        refs = [
            scheduler_pb2.GenerationRef(generation_id=generation.generation_id, requester=whose, filters=filters)
            for generation in found
        ]
        answers = await asyncio.gather(*map(self._scheduler.get, refs), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NotFound):
                with told_outward():
                    raise answer
        return answers

    async def _reserve(self, mine: Reservation) -> bool:
        try:
            return await self._store.reserve(mine)
        except (SharedKeyBound, SharedKeyBudgetSpent):
            await self.settle(mine.shared_key_id)
            return await self._store.reserve(mine)

    async def _accepted(self, principal: Principal, name: str) -> bool:
        (answer,) = await self._look(
            principal.requester, [Reservation(name, principal.shared_key_id, 0, "", self._clock.now())]
        )
        return not isinstance(answer, BaseException)

    async def _key(self, principal: Principal) -> SharedKey:
        key = await self._store.shared_key(principal.shared_key_id)
        if key is None or key.revoked:
            raise ApiKeyUnknown
        return key


def spent_on(generation: generation_pb2.Generation) -> int:
    """What a generation that has ended cost its payer, subsidies included, in milli-kudos.

    Where the ledger's word is not there yet, what is done is taken to cost its price.
    """
    price = generation.quote.per_image.total_mkudos
    return sum(
        image.settlement.charged_mkudos + image.settlement.from_subsidy_mkudos
        if image.HasField("settlement")
        else price * (image.ending == job_pb2.JOB_ENDING_DONE)
        for image in generation.images
    )
