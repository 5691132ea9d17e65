"""An account's life after it was opened: what it says of itself, and everything that is kept about it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from horde.api.account.v1 import account_service_pb2 as pb
from horde.gateway.core.closing import Exports
from horde.gateway.core.errors import ApiKeyUnknown, InvalidAccountField
from horde.gateway.core.identities import MAX_CONTACT_CHARACTERS
from horde.gateway.core.requesters import Principal
from horde.gateway.core.validation import MAX_DISPLAY_NAME_CHARACTERS, Violations
from horde.gateway.doors import wire
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock

CHANGEABLE = ("display_name", "public", "contact")
PAGE = 20


class AccountLife:
    """UpdateAccount and ExportAccount."""

    def __init__(
        self, store: IdentityStore, ledger: LedgerClient, scheduler: SchedulerClient, exports: Exports, clock: Clock
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._scheduler = scheduler
        self._exports = exports
        self._clock = clock

    async def update(self, principal: Principal, request: pb.UpdateAccountRequest) -> pb.Account:
        """Change what the mask names, and nothing else; repeating it is harmless."""
        wrong = Violations()
        asked = request.account
        named = checked_mask(wrong, request.update_mask.paths, CHANGEABLE)
        if "display_name" in named:
            text = asked.display_name
            wrong.text("account.display_name", text, MAX_DISPLAY_NAME_CHARACTERS, required=True, one_line=True)
        if "contact" in named:
            wrong.text("account.contact", asked.contact, MAX_CONTACT_CHARACTERS, one_line=True)
        if wrong.found:
            raise InvalidAccountField(violations=wrong.found)
        changes = {field: getattr(asked, field) for field in named}
        known = await self._store.account(principal.account_id)
        if known is not None and "display_name" in named:
            # A repeated CreateAccount is compared with what was asked then.
            changes["asked_name"] = known.asked_name or known.display_name
        account = await self._store.update_account(principal.account_id, changes)
        if account is None:
            raise ApiKeyUnknown
        return wire.account_message(account)

    async def export(self, principal: Principal) -> AsyncGenerator[pb.ExportAccountResponse]:
        """Everything that is kept about the caller, item by item, and then how much it was."""
        digest, items = hashlib.sha256(), 0
        async for message in self._everything(principal):
            kind = message.DESCRIPTOR.full_name
            json = MessageToJson(message, preserving_proto_field_name=True, indent=None)
            digest.update(json.encode() + b"\n")
            items += 1
            yield pb.ExportAccountResponse(item=pb.ExportItem(kind=kind, json=json))
        end = pb.ExportEnd(
            export_id=self._exports.issue(principal.account_id, self._clock.now()), items=items, sha256=digest.digest()
        )
        yield pb.ExportAccountResponse(end=end)

    async def _everything(self, principal: Principal) -> AsyncIterator[Message]:
        """In the order of the messages' names."""
        account_id = principal.account_id
        account = await self._store.account(account_id)
        if account is None:
            raise ApiKeyUnknown
        yield wire.account_message(account)
        for key in await self._store.keys(account_id):
            yield wire.api_key_message(key)
        for shared in await self._store.shared_keys(account_id):
            yield wire.shared_key_message(shared)
        requester = wire.requester_message(principal.requester)
        question = scheduler_pb2.ListGenerationsRequest(requester=requester, page_size=PAGE)
        more = True
        while more:
            with told_outward():
                page = await self._scheduler.list_generations(question)
            for known in page.generations:
                yield known.generation
            question.page_token, more = page.next_page_token, bool(page.next_page_token)
        entries = ledger_service.ListEntriesRequest(account_id=account_id, page_size=100)
        more = True
        while more:
            with told_outward():
                answer = await self._ledger.entries(entries)
            for entry in answer.entries:
                yield entry
            entries.page_token, more = answer.next_page_token, bool(answer.next_page_token)
        workers = scheduler_pb2.ListWorkersRequest(owner_account_id=account_id, page_size=PAGE)
        more = True
        while more:
            with told_outward():
                found = await self._scheduler.list_workers(workers)
            for worker in found.workers:
                yield worker
            workers.page_token, more = found.next_page_token, bool(found.next_page_token)


def checked_mask(wrong: Violations, paths: object, changeable: tuple[str, ...]) -> list[str]:
    """The fields that a mask names, each once; one that may not be changed is a violation, and so is none at all."""
    named = list(dict.fromkeys(paths))  # type: ignore[call-overload]
    if not named:
        wrong.add("update_mask", "is missing")
    for path in named[:16]:
        if path not in changeable:
            wrong.add("update_mask", f"may name {', '.join(changeable)}, and names {path[:64]}")
    return [path for path in changeable if path in named]
