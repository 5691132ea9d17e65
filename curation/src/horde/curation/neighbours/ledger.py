"""The ledger, as ratings need it: it pays for each once, or says that today's budget is spent."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID, uuid5

from horde.curation.core.rating import Due
from horde.curation.core.rating_reward import rating_id
from horde.internal.ledger.v1 import ledger_service_pb2 as pb
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.services.status import from_status

SPENT = "BUDGET_SPENT"


class Payer(Protocol):
    """Who pays."""

    async def pay(self, due: Due) -> int:
        """Pay, once however often it is asked: what was paid, in milli-kudos, which is nothing where the day's budget
        is spent. Raises ServiceError where nobody knows whether it was paid."""


class Nobody:
    """There is no ledger: nothing is paid."""

    async def pay(self, due: Due) -> int:
        return 0


class LedgerPayer:
    """The ledger over the wire."""

    def __init__(self, channel: Any) -> None:
        self._stub = LedgerServiceStub(channel)

    async def pay(self, due: Due) -> int:
        about = rating_id(due.image_id, due.account_id)
        reward = pb.RewardRating(account_id=due.account_id, rating_id=about, amount_mkudos=due.amount_mkudos)
        event = pb.Event(event_id=str(uuid5(UUID(about), "reward")), reward_rating=reward)
        answer = await self._stub.Apply(pb.ApplyRequest(events=[event]))
        (outcome,) = answer.outcomes
        if not outcome.HasField("error"):
            return sum(transfer.amount_mkudos for transfer in outcome.entry.transfers)
        refusal = from_status(outcome.error)
        if refusal.reason != SPENT:
            raise refusal
        return 0
