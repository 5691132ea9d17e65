"""The ledger's feed: every entry, in order, without gaps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from grpc import aio

from horde.api.ledger.v1 import ledger_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as pb
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub


class Ledger:
    """Listens to the ledger. Every method raises Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = LedgerServiceStub(channel)

    async def head(self) -> int:
        """The sequence of the newest entry."""
        mint = ledger_pb2.AccountRef(kind=ledger_pb2.LEDGER_ACCOUNT_KIND_MINT)
        answer: pb.GetBalancesResponse = await self._stub.GetBalances(pb.GetBalancesRequest(accounts=[mint]))
        return answer.balances[0].sequence

    async def entries(self, after: int) -> AsyncGenerator[Sequence[ledger_pb2.Entry]]:
        """What comes after a sequence, a page at a time; it waits for what is to come."""
        async for page in self._stub.FollowEntries(pb.FollowEntriesRequest(after_sequence=after)):
            yield page.entries
