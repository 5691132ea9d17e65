"""Accounts that have ended: what is kept under their ids goes."""

from __future__ import annotations

from typing import Any, Final

from horde.curation.core.images import digest_requester
from horde.curation.core.sharing import Wish
from horde.curation.core.visitors import digest_reporter
from horde.curation.store.port import CurationStore
from horde.internal.curation.v1 import account_service_pb2 as pb
from horde.internal.curation.v1.account_service_pb2_grpc import AccountServiceServicer
from horde.services.clock import Clock

AT_ONCE: Final = 200
"""Ratings, and reports, in one step."""


class AccountServicer(AccountServiceServicer):
    """Takes one step with each call; the wish to be asked again is the gateway's, and durable there."""

    def __init__(self, store: CurationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ForgetAccount(self, request: pb.ForgetAccountRequest, context: Any) -> pb.ForgetAccountResponse:
        if request.withdraw_shared:
            await self._store.wish(Wish(digest_requester(request.account_id), self._clock.now()))
        left = await self._store.forget_reporter(digest_reporter(request.account_id), AT_ONCE)
        left += await self._store.forget_rater(request.account_id, AT_ONCE)
        return pb.ForgetAccountResponse(left=left)
