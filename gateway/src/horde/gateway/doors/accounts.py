"""Accounts, API keys and kudos of the caller: what AccountService does.

An account is durable here before the ledger hears of it, and the ledger is told again until it knows: an account whose
key was shown must never be lost because another service was away.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from uuid import uuid5

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.gateway.core.credentials import ApiKeyCredential, Peppers
from horde.gateway.core.errors import (
    AccountNotFound,
    AccountRequestConflict,
    ApiKeyNotFound,
    ApiKeyUnknown,
    InvalidAccountField,
    RegistrationClosed,
    ScopeMissing,
)
from horde.gateway.core.identities import Account, ApiKey
from horde.gateway.core.requesters import NAMESPACE, Principal, Role, Scope, opening_event_id, transfer_event_id
from horde.gateway.core.validation import (
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_NOTE_CHARACTERS,
    MAX_TRANSFER_MKUDOS,
    Violations,
)
from horde.gateway.doors import wire
from horde.gateway.doors.authentication import Authenticator
from horde.gateway.doors.drawn_keys import drawn_key, require_no_shared_key
from horde.gateway.neighbours.ledger import Balances, LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.services.clock import Clock
from horde.services.errors import InvalidArgument, ServiceError
from horde.services.failpoints import declare, failpoint
from horde.services.ids import Ids
from horde.services.telemetry import get_logger

log = get_logger(__name__)

AFTER_ACCOUNT = declare("gateway.after_account")

MAX_LABEL_CHARACTERS = 64
MAX_PAGE = 100
OPEN_PAGE = 100
RETRY_SECONDS = 2.0
OPERATOR_ACCOUNT_ID = str(uuid5(NAMESPACE, "account/operator"))
SPEND = ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND
ESCROW = ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW


class Accounts:
    """What AccountService does."""

    def __init__(
        self,
        store: IdentityStore,
        ledger: LedgerClient,
        balances: Balances,
        authenticator: Authenticator,
        peppers: Peppers,
        clock: Clock,
        ids: Ids,
        *,
        registration_open: bool,
        revoked: Callable[[str], None] = lambda api_key_id: None,
    ) -> None:
        """`revoked` is called with the id of every key that is revoked here."""
        self._store = store
        self._ledger = ledger
        self._balances = balances
        self._authenticator = authenticator
        self._peppers = peppers
        self._clock = clock
        self._ids = ids
        self._registration_open = registration_open
        self._revoked = revoked
        self._unopened = asyncio.Event()

    async def create(self, request: account_pb2.CreateAccountRequest) -> account_pb2.CreateAccountResponse:
        """Open an account."""
        if not self._registration_open:
            raise RegistrationClosed
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        wrong.text("display_name", request.display_name, MAX_DISPLAY_NAME_CHARACTERS, required=True, one_line=True)
        shown = drawn_key(wrong, "api_key", request.api_key)
        _raise(wrong)
        now = self._clock.now()
        account = Account(str(self._ids.new()), request.display_name, now, frozenset(), request.request_id)
        key = self._new_key(shown, account.account_id, "first", frozenset(Scope), "")
        await require_no_shared_key(self._store, shown)
        known = await self._store.key(key.api_key_id)
        if known is not None and known[1].request_id != request.request_id:
            raise AccountRequestConflict(metadata={"field": "api_key"})
        kept, created = await self._store.create_account(account, key)
        if request.display_name != (kept.asked_name or kept.display_name):
            raise AccountRequestConflict(metadata={"field": "display_name"})
        if not created:
            known = await self._store.key(key.api_key_id)
            if known is None or known[1].account_id != kept.account_id:
                raise AccountRequestConflict(metadata={"field": "api_key"})
            key = known[0]
        await failpoint(AFTER_ACCOUNT)
        self._unopened.set()
        return account_pb2.CreateAccountResponse(account=wire.account_message(kept), key=wire.api_key_message(key))

    async def get(self, principal: Principal) -> account_pb2.GetAccountResponse:
        """The caller's account, with what it holds."""
        account = await self._store.account(principal.account_id)
        if account is None:
            raise ApiKeyUnknown
        with told_outward():
            spend, escrow = await asyncio.gather(
                self._ledger.balance(principal.account_id, SPEND), self._ledger.balance(principal.account_id, ESCROW)
            )
        shown = wire.account_message(account, trusted=spend.owner_trusted)
        return account_pb2.GetAccountResponse(account=shown, spend=spend, escrow=escrow)

    async def create_key(
        self, principal: Principal, request: account_pb2.CreateApiKeyRequest
    ) -> account_pb2.CreateApiKeyResponse:
        """Make another key, that may do no more than the one used."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        wrong.text("label", request.label, MAX_LABEL_CHARACTERS, one_line=True)
        if not request.scopes:
            wrong.add("scopes", "is missing")
        scopes = set()
        for index, scope in enumerate(wire.scopes_of(request.scopes[:16])):
            if scope is None:
                wrong.add(f"scopes[{index}]", f"{request.scopes[index]} is not known")
            else:
                scopes.add(scope)
        shown = drawn_key(wrong, "api_key", request.api_key)
        _raise(wrong)
        for scope in sorted(scopes - principal.scopes, key=lambda scope: scope.value):
            raise ScopeMissing(metadata={"scope": scope.value})
        key = self._new_key(shown, principal.account_id, request.label, frozenset(scopes), request.request_id)
        await require_no_shared_key(self._store, shown)
        known = await self._store.key(key.api_key_id)
        if known is not None and (known[0].account_id, known[0].request_id) != (key.account_id, key.request_id):
            raise AccountRequestConflict(metadata={"field": "api_key"})
        kept, _ = await self._store.create_key(key)
        for name, field in (("label", "label"), ("scopes", "scopes"), ("api_key_id", "api_key")):
            if getattr(kept, name) != getattr(key, name):
                raise AccountRequestConflict(metadata={"field": field})
        return account_pb2.CreateApiKeyResponse(key=wire.api_key_message(kept))

    async def list_keys(self, principal: Principal) -> Sequence[account_pb2.ApiKey]:
        """The account's keys, oldest first."""
        return [wire.api_key_message(key) for key in await self._store.keys(principal.account_id)]

    async def revoke_key(self, principal: Principal, api_key_id: str) -> account_pb2.ApiKey:
        """Make a key useless, here at once."""
        # Ids of keys are looked up, not parsed: one that cannot be is one that is not there.
        key = await self._store.revoke_key(principal.account_id, api_key_id) if len(api_key_id) <= 32 else None
        if key is None:
            raise ApiKeyNotFound(metadata={"api_key_id": api_key_id[:64]})
        self._revoked(api_key_id)
        return wire.api_key_message(key)

    async def gift(self, principal: Principal, request: account_pb2.GiftKudosRequest) -> ledger_pb2.Entry:
        """Give kudos to another account."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        numbered = re.fullmatch(r"[0-9]{1,15}", request.to_account_id)
        if numbered is None:
            wrong.uuid("to_account_id", request.to_account_id)
        wrong.within("amount_mkudos", request.amount_mkudos, 1, MAX_TRANSFER_MKUDOS)
        wrong.text("message", request.message, MAX_NOTE_CHARACTERS)
        _raise(wrong)
        if numbered is not None:
            named = await self._store.account_numbered(int(request.to_account_id))
            request.to_account_id = named.account_id if named is not None else request.to_account_id
        await self._require_account(request.to_account_id)
        gift = ledger_service.Gift(
            from_account_id=principal.account_id,
            to_account_id=request.to_account_id,
            amount_mkudos=request.amount_mkudos,
            message=request.message,
        )
        event_id = transfer_event_id(principal.account_id, request.request_id)
        return await self._apply(ledger_service.Event(event_id=event_id, gift=gift), request.to_account_id, principal)

    async def award(self, principal: Principal, request: account_pb2.AwardKudosRequest) -> ledger_pb2.Entry:
        """Make kudos for an account."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        wrong.uuid("account_id", request.account_id)
        wrong.within("amount_mkudos", request.amount_mkudos, 1, MAX_TRANSFER_MKUDOS)
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        _raise(wrong)
        await self._require_account(request.account_id)
        award = ledger_service.Award(
            account_id=request.account_id,
            amount_mkudos=request.amount_mkudos,
            awarded_by=principal.account_id,
            reason=request.reason,
        )
        event_id = transfer_event_id(principal.account_id, request.request_id)
        return await self._apply(ledger_service.Event(event_id=event_id, award=award), request.account_id, principal)

    async def statement(
        self, principal: Principal, request: account_pb2.ListStatementEntriesRequest
    ) -> account_pb2.ListStatementEntriesResponse:
        """A page of the account's statement, newest first."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE) or 50
        _raise(wrong)
        question = ledger_service.ListEntriesRequest(
            account_id=principal.account_id, page_size=size, page_token=request.page_token
        )
        with told_outward():
            try:
                answer = await self._ledger.entries(question)
            except InvalidArgument as error:
                wrong.add("page_token", "is not one that was given out")
                raise InvalidAccountField(violations=wrong.found) from error
        return account_pb2.ListStatementEntriesResponse(entries=answer.entries, next_page_token=answer.next_page_token)

    async def audit(self, request: account_pb2.AuditLedgerRequest) -> account_pb2.AuditLedgerResponse:
        """Have the books checked."""
        wrong = Violations()
        wrong.within("from_block", request.from_block, 0, 2**62)
        _raise(wrong)
        with told_outward():
            found = await self._ledger.audit(ledger_service.AuditRequest(from_block=request.from_block))
        return account_pb2.AuditLedgerResponse(
            blocks=found.blocks,
            entries=found.entries,
            transfers=found.transfers,
            first_finding=found.first_finding.what,
            first_bad_block=found.first_finding.block_number,
            head_hash=found.head_hash,
            sum_of_all_mkudos=found.sum_of_all_mkudos,
        )

    async def ensure_operator(self, shown: ApiKeyCredential) -> Account:
        """Make sure that the operator's account exists and that this key opens it."""
        account = Account(OPERATOR_ACCOUNT_ID, "operator", self._clock.now(), frozenset(Role))
        key = self._new_key(shown, account.account_id, "operator", frozenset(Scope), "")
        await self._store.ensure_account(account, key)
        self._unopened.set()
        return account

    async def open_at_ledger(self) -> None:
        """Tell the ledger of accounts that it does not know, now and whenever there are new ones. Until cancelled."""
        self._unopened.set()
        while True:
            await self._unopened.wait()
            self._unopened.clear()
            try:
                while await self._open_some():
                    pass
            except ServiceError as error:
                log.info("the ledger was not told of new accounts yet", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._unopened.set()

    async def _open_some(self) -> bool:
        waiting = await self._store.unopened(OPEN_PAGE)
        events = []
        for account in waiting:
            opened = ledger_service.OpenAccount(
                account_id=account.account_id, opened_at=wire.timestamp(account.created_at)
            )
            event_id = opening_event_id(account.account_id)
            events.append(self._ledger.apply(ledger_service.Event(event_id=event_id, open_account=opened)))
        answers = await asyncio.gather(*events, return_exceptions=True)
        known = [account.account_id for account, answer in zip(waiting, answers, strict=True) if _is_final(answer)]
        if known:
            await self._store.mark_opened(known)
        for answer in answers:
            if isinstance(answer, BaseException) and not _is_final(answer):
                raise answer
        return len(waiting) == OPEN_PAGE

    async def _apply(self, event: ledger_service.Event, to_account_id: str, principal: Principal) -> ledger_pb2.Entry:
        with told_outward():
            entry = await self._ledger.apply(event)
        self._balances.changed(to_account_id)
        self._balances.changed(principal.account_id)
        return entry

    async def _require_account(self, account_id: str) -> None:
        if await self._store.account(account_id) is None:
            raise AccountNotFound(metadata={"account_id": account_id})

    def _new_key(
        self, shown: ApiKeyCredential, account_id: str, label: str, scopes: frozenset[Scope], request_id: str
    ) -> ApiKey:
        return ApiKey(
            api_key_id=shown.api_key_id,
            account_id=account_id,
            label=label,
            scopes=scopes,
            digest=self._peppers.digest(shown),
            pepper_id=self._peppers.current_id,
            created_at=self._clock.now(),
            request_id=request_id,
        )


def _is_final(answer: object) -> bool:
    """Whether the ledger has said its last word: it knows the account, or will never take it."""
    if isinstance(answer, InvalidArgument):
        log.error("the ledger refuses to know an account", error=str(answer))
        return True
    return not isinstance(answer, BaseException)


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidAccountField(violations=wrong.found)
