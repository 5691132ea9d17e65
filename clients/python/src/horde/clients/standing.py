"""How an account stands: trust, strikes, restrictions; and for those who run a horde, changing it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.standing.v1 import standing_service_pb2 as pb
from horde.api.standing.v1.standing_service_pb2_grpc import StandingServiceStub
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id


class Standings:
    """One's own record, and what operators and moderators decide."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = StandingServiceStub(doors.gateway)
        self._accounts = AccountServiceStub(doors.gateway)

    async def show(self, account_id: str = "") -> pb.Standing:
        """How the caller stands, or, for those who run the horde, another account. Raises AccountNotFound."""
        request = pb.GetStandingRequest(account_id=account_id)
        return (await self._doors.ask(self._stub.GetStanding, request)).standing

    async def strikes(self, account_id: str = "", *, page_size: int = 100) -> AsyncIterator[pb.Strike]:
        """Everything that was held against the caller's workers, newest first, also what was forgiven."""
        request = pb.ListStrikesRequest(account_id=account_id, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListStrikes, request)
            for strike in page.strikes:
                yield strike
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def appeal(self, restriction_id: str, note: str) -> pb.Restriction:
        """Leave a note for those who can lift a restriction; it replaces an earlier one. Raises RestrictionNotFound."""
        request = pb.AppealRestrictionRequest(restriction_id=restriction_id, note=note)
        return (await self._doors.ask(self._stub.AppealRestriction, request)).restriction

    async def set_trust(self, account_id: str, trusted: bool | None, reason: str) -> pb.Standing:
        """Trust or distrust an owner by decree; None ends the decree. For operators."""
        request = pb.SetTrustRequest(account_id=account_id, trusted=trusted, reason=reason)
        return (await self._doors.ask(self._stub.SetTrust, request)).standing

    async def restrict(
        self,
        target: pb.RestrictionTarget,
        reason: str,
        *,
        ban: bool = False,
        lasts: timedelta | None = None,
        request_id: str | None = None,
    ) -> pb.Restriction:
        """Pause or ban somebody, for a while or until it is lifted. For moderators."""
        duration = None
        if lasts is not None:
            duration = Duration()
            duration.FromTimedelta(lasts)
        request = pb.RestrictRequest(
            request_id=request_id or new_request_id(),
            target=target,
            kind=pb.RESTRICTION_KIND_BAN if ban else pb.RESTRICTION_KIND_PAUSE,
            reason=reason,
            lasts=duration,
        )
        return (await self._doors.ask(self._stub.Restrict, request)).restriction

    async def lift(self, restriction_id: str, reason: str) -> pb.Restriction:
        """End a restriction before its time. For moderators. Raises RestrictionNotFound."""
        request = pb.LiftRestrictionRequest(restriction_id=restriction_id, reason=reason)
        return (await self._doors.ask(self._stub.LiftRestriction, request)).restriction

    async def restrictions(
        self, *, past: bool = False, appealed: bool = False, page_size: int = 100
    ) -> AsyncIterator[pb.Restriction]:
        """Those that hold, newest first, or all; or those with a note that nobody has answered. For moderators."""
        request = pb.ListRestrictionsRequest(past=past, appealed=appealed, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListRestrictions, request)
            for restriction in page.restrictions:
                yield restriction
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def amnesty(self, begin: datetime, end: datetime, reason: str) -> pb.GrantAmnestyResponse:
        """Forgive everybody's strikes of a window of time, a week at most. For operators."""
        request = pb.GrantAmnestyRequest(reason=reason)
        getattr(request, "from").FromDatetime(begin)
        request.until.FromDatetime(end)
        return await self._doors.ask(self._stub.GrantAmnesty, request)

    async def decisions(self, subject: str = "", *, page_size: int = 100) -> AsyncIterator[pb.Decision]:
        """What was decided by those who run the horde, newest first; all, or what is about this. For operators."""
        request = pb.ListDecisionsRequest(subject=subject, page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListDecisions, request)
            for decision in page.decisions:
                yield decision
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def set_roles(
        self, account_id: str, roles: Iterable[account_pb2.AccountRole.ValueType], reason: str
    ) -> account_pb2.Account:
        """Give an account these roles and no others. For operators. Raises AccountNotFound."""
        request = account_pb2.SetRolesRequest(account_id=account_id, roles=roles, reason=reason)
        return (await self._doors.ask(self._accounts.SetRoles, request)).account

    async def accounts(
        self,
        *,
        role: account_pb2.AccountRole.ValueType = account_pb2.ACCOUNT_ROLE_UNSPECIFIED,
        name_contains: str = "",
        account_id: str = "",
        page_size: int = 100,
    ) -> AsyncIterator[account_pb2.Account]:
        """Accounts, newest first: with a role, with this in their name, or one alone. For operators."""
        request = account_pb2.ListAccountsRequest(
            role=role, name_contains=name_contains, account_id=account_id, page_size=page_size
        )
        while True:
            page = await self._doors.ask(self._accounts.ListAccounts, request)
            for account in page.accounts:
                yield account
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
