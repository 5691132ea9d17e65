"""What operators do with accounts: list them, and say who moderates and who operates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.ledger.v1 import ledger_pb2
from horde.gateway.core.decisions import Decision
from horde.gateway.core.errors import AccountNotFound, InvalidAccountField
from horde.gateway.core.identities import Account
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.requesters import Principal, Role
from horde.gateway.core.validation import MAX_DISPLAY_NAME_CHARACTERS, MAX_NOTE_CHARACTERS, Violations
from horde.gateway.doors import wire
from horde.gateway.doors.authentication import Authenticator
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.store.port import IdentityStore
from horde.services.clock import Clock
from horde.services.ids import Ids

MAX_PAGE = 100
USUAL_PAGE = 50
MAX_SCANNED = 2_000
"""Accounts that one call looks through for a name: the next page goes on where it stopped."""


class AccountOperating:
    """ListAccounts and SetRoles."""

    def __init__(
        self, store: IdentityStore, ledger: LedgerClient, authenticator: Authenticator, clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._authenticator = authenticator
        self._clock = clock
        self._ids = ids

    async def set_roles(self, principal: Principal, request: pb.SetRolesRequest) -> pb.Account:
        """Give an account these roles and no others; repeating it changes and records nothing."""
        wrong = Violations()
        wrong.uuid("account_id", request.account_id)
        roles = set()
        for index, number in enumerate(request.roles[:16]):
            if (role := wire.ROLES_BY_NUMBER.get(number)) is None:
                wrong.add(f"roles[{index}]", f"{number} is not known")
            else:
                roles.add(role)
        if request.account_id == principal.account_id and Role.OPERATOR not in roles:
            wrong.add("roles", "must have OPERATOR: nobody takes that from himself")
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        _raise(wrong)
        decision = Decision(
            decision_id=str(self._ids.new()),
            at=self._clock.now(),
            by_account_id=principal.account_id,
            action="set roles",
            subject=request.account_id,
            reason=request.reason,
            detail=" ".join(sorted(role.value for role in roles)) or "none",
        )
        account = await self._store.set_roles(request.account_id, frozenset(roles), decision)
        if account is None:
            raise AccountNotFound(metadata={"account_id": request.account_id})
        # Here at once; other replicas believe what they looked up for five seconds at most.
        for key in await self._store.keys(account.account_id):
            self._authenticator.forget(key.api_key_id)
        return (await self._messages([account]))[0]

    async def page(self, request: pb.ListAccountsRequest) -> pb.ListAccountsResponse:
        """A page of accounts, newest first."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
        wrong.known("role", request.role, pb.AccountRole.values())
        wrong.part("name_contains", request.name_contains, MAX_DISPLAY_NAME_CHARACTERS)
        if request.account_id:
            wrong.uuid("account_id", request.account_id)
        try:
            before = _place(request.page_token)
        except ValueError:
            before = None
            if not any(violation.field == "page_token" for violation in wrong.found):
                wrong.found.append(bad_page_token())
        _raise(wrong)
        role, part = wire.ROLES_BY_NUMBER.get(request.role), request.name_contains.casefold()
        if request.account_id:
            only = await self._store.account(request.account_id)
            found = [] if only is None or before is not None or (role and role not in only.roles) else [only]
            more = False
        else:
            limit = MAX_SCANNED if part else size
            found = list(await self._store.accounts(limit + 1, before, role))
            more = len(found) > limit
            found = found[:limit]
        shown = [account for account in found if part in account.display_name.casefold()]
        last = None
        if len(shown) > size:
            shown = shown[:size]
            last = shown[-1]
        elif more:
            last = found[-1]
        answer = pb.ListAccountsResponse(accounts=await self._messages(shown))
        if last is not None:
            answer.next_page_token = write_place(f"{last.created_at.isoformat()} {last.account_id}")
        return answer

    async def _messages(self, accounts: Sequence[Account]) -> list[pb.Account]:
        spend = ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND
        with told_outward():
            balances = await asyncio.gather(*(self._ledger.balance(account.account_id, spend) for account in accounts))
        return [
            wire.account_message(account, trusted=balance.owner_trusted)
            for account, balance in zip(accounts, balances, strict=True)
        ]


def _place(token: str) -> tuple[datetime, str] | None:
    """Where a page begins; None: with the first. Raises ValueError for a token that was not given out."""
    if not token:
        return None
    at, _, account_id = (read_place(token) or "").partition(" ")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError
    return moment, str(UUID(account_id))


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidAccountField(violations=wrong.found)
