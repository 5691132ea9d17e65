"""Kudos of the caller's account: gifts, the statement; for operators awards and audits. All in milli-kudos."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.ledger.v1.ledger_pb2 import Entry
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id

PAGE_SIZE: Final = 100


class Kudos:
    """Moving kudos and reading how they moved."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = AccountServiceStub(doors.gateway)

    async def gift(
        self, to_account_id: str, amount_mkudos: int, *, message: str = "", request_id: str | None = None
    ) -> Entry:
        """Give kudos away. Raises AccountNotFound, InsufficientKudos, SelfGift, AmountLimitReached."""
        request = pb.GiftKudosRequest(
            request_id=request_id or new_request_id(),
            to_account_id=to_account_id,
            amount_mkudos=amount_mkudos,
            message=message,
        )
        return (await self._doors.ask(self._stub.GiftKudos, request)).entry

    async def award(self, account_id: str, amount_mkudos: int, *, reason: str, request_id: str | None = None) -> Entry:
        """Make kudos for an account. Needs the role of an operator: RoleMissing."""
        request = pb.AwardKudosRequest(
            request_id=request_id or new_request_id(),
            account_id=account_id,
            amount_mkudos=amount_mkudos,
            reason=reason,
        )
        return (await self._doors.ask(self._stub.AwardKudos, request)).entry

    async def statement(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[Entry]:
        """Every entry of the account, newest first, page by page as they are read."""
        request = pb.ListStatementEntriesRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListStatementEntries, request)
            for entry in page.entries:
                yield entry
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def audit(self, *, from_block: int = 0) -> pb.AuditLedgerResponse:
        """Recompute every balance and hash of the ledger. Needs the role of an operator: RoleMissing."""
        return await self._doors.ask(self._stub.AuditLedger, pb.AuditLedgerRequest(from_block=from_block))
