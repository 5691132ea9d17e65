"""OwnerService: what is known of owners of workers, and what is taken back of it."""

from __future__ import annotations

from typing import Any

from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.internal.scheduler.v1 import owner_service_pb2 as pb
from horde.internal.scheduler.v1.owner_service_pb2_grpc import (
    OwnerServiceServicer,
    add_OwnerServiceServicer_to_server,
)
from horde.scheduler.core import returning
from horde.scheduler.core.errors import InvalidField
from horde.scheduler.core.job import AccountId
from horde.scheduler.core.rows import Moment
from horde.scheduler.core.strikes import Strike
from horde.scheduler.doors.pages import read_token, write_token
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term
from horde.services.errors import FieldViolation
from horde.services.server import Registration

SERVICE = "horde.internal.scheduler.v1.OwnerService"
PAGE = 20
MAX_PAGE = 100


class Owners:
    """Answers about owners."""

    def __init__(self, term: Term, saver: Saver) -> None:
        self._term = term
        self._saver = saver

    def show(self, owner: AccountId) -> pb.GetOwnerResponse:
        """What an owner's work so far says about it."""
        board, now, moment = self._term.board, self._term.now(), self._moment()
        answer = pb.GetOwnerResponse(
            proven_images=board.limits.proven_images, strikes=board.strikes.counting(owner, now)
        )
        standing = board.fleet.standings.get(owner)
        if standing is None:
            return answer
        answer.paid_images, answer.proven = standing.paid_images, standing.proven
        answer.contradicted = standing.contradicted
        answer.images_verified, answer.images_refuted = standing.verified, standing.refuted
        for worker in standing.workers.values():
            if worker.rests_until > now:
                resting = answer.resting.add(worker_name=worker.name)
                resting.until.FromMilliseconds(moment.wall(worker.rests_until))
            for model, until in worker.withheld.items():
                withheld = answer.withheld.add(worker_name=worker.name, model=model)
                withheld.until.FromMilliseconds(moment.wall(until))
        return answer

    def page(self, request: pb.ListStrikesRequest) -> pb.ListStrikesResponse:
        """A page of an owner's strikes, newest first."""
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else PAGE
        strikes = self._term.board.strikes.of(AccountId(request.owner_account_id))
        after = read_token(request.page_token, int, str)
        if after is not None:
            # The place is the last one's id: new ones come before it.
            ids = [strike.strike_id for strike in strikes]
            strikes = strikes[ids.index(after[1]) + 1 :] if after[1] in ids else []
        moment = self._moment()
        answer = pb.ListStrikesResponse(strikes=[strike_message(strike, moment) for strike in strikes[:size]])
        if len(strikes) > size:
            answer.next_page_token = write_token(0, strikes[size - 1].strike_id)
        return answer

    async def forgive(self, request: pb.ForgiveStrikesRequest) -> pb.ForgiveStrikesResponse:
        """An amnesty; durable when it answers."""
        if not request.because:
            raise InvalidField(violations=[FieldViolation("because", "missing")])
        moment = self._moment()
        since, until = (moment.core(at.ToMilliseconds()) for at in (getattr(request, "from"), request.until))
        strikes, owners = returning.pardon(self._term.board, since, until, request.because)
        self._term.flush()
        await self._saver.saved()
        return pb.ForgiveStrikesResponse(strikes=strikes, owners=owners)

    def _moment(self) -> Moment:
        return Moment(self._term.now(), self._term.now_ms())


def strike_message(strike: Strike, moment: Moment) -> standing_pb2.Strike:
    """A strike in the contract's words."""
    message = standing_pb2.Strike(
        strike_id=strike.strike_id,
        worker_id=strike.worker_id,
        worker_name=strike.worker_name,
        reason=int(strike.reason),  # type: ignore[arg-type]
        forgiven_because=strike.forgiven,
        detail=strike.detail,
    )
    message.at.FromMilliseconds(moment.wall(strike.at))
    message.counts_until.FromMilliseconds(moment.wall(strike.counts_until))
    return message


def owner_registration(owners: Owners) -> Registration:
    """What is to be served."""
    return Registration(add_OwnerServiceServicer_to_server, OwnerServicer(owners), SERVICE)


class OwnerServicer(OwnerServiceServicer):
    """Decode, ask, encode."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def GetOwner(self, request: pb.GetOwnerRequest, context: Any) -> pb.GetOwnerResponse:
        return self._owners.show(AccountId(request.owner_account_id))

    async def ListStrikes(self, request: pb.ListStrikesRequest, context: Any) -> pb.ListStrikesResponse:
        return self._owners.page(request)

    async def ForgiveStrikes(self, request: pb.ForgiveStrikesRequest, context: Any) -> pb.ForgiveStrikesResponse:
        return await self._owners.forgive(request)
