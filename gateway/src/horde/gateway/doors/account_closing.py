"""DeleteAccount: the wish is durable first, with the account's keys gone; then all that it had goes, whatever restarts.

exported, nothing open -> closing (durable; no key is good any more) -> ledger closes
                       -> scheduler, storage, curation and webhooks forget, and what stands here -> an hour later: again
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid5

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.gateway.core.closing import ANSWERED, Closing, Exports
from horde.gateway.core.errors import AccountBusy, ApiKeyUnknown, ExportRequired
from horde.gateway.core.requesters import Principal
from horde.gateway.neighbours.curation import CurationClient
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.neighbours.storage import StorageClient
from horde.gateway.neighbours.webhooks import WebhooksClient
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.failpoints import declare, failpoint
from horde.services.telemetry import get_logger

log = get_logger(__name__)

AFTER_CLOSING = declare("gateway.after_closing")
AFTER_BURNING = declare("gateway.after_burning")

LOOK_SECONDS = 30.0
"""Between two looks at what other replicas, or earlier processes, have begun."""
STEP_SECONDS = 1.0
"""Between two steps while something is left."""
PAGE = 64


class AccountClosing:
    """Ends accounts."""

    def __init__(
        self,
        store: IdentityStore,
        ledger: LedgerClient,
        scheduler: SchedulerClient,
        storage: StorageClient,
        curation: CurationClient,
        webhooks: WebhooksClient,
        exports: Exports,
        clock: Clock,
        *,
        revoked: Callable[[str], None],
    ) -> None:
        """`revoked` is called with the id of every key that is gone."""
        self._store = store
        self._ledger = ledger
        self._scheduler = scheduler
        self._storage = storage
        self._curation = curation
        self._webhooks = webhooks
        self._exports = exports
        self._clock = clock
        self._revoked = revoked
        self._begun = asyncio.Event()

    async def delete(self, principal: Principal, request: pb.DeleteAccountRequest) -> pb.DeleteAccountResponse:
        """End the caller's account; the same again has the same answer."""
        closing = await self._store.closing(principal.account_id)
        if closing is None:
            closing = await self._begin(principal, request)
        elif request.export_id != closing.export_id:
            raise ExportRequired
        with told_outward():
            closing = await self._burn(closing)
        self._begun.set()
        return pb.DeleteAccountResponse(
            generations=closing.generations,
            images=closing.images,
            images_withdrawn=closing.images_withdrawn,
            burned_mkudos=closing.burned_mkudos or 0,
        )

    async def _begin(self, principal: Principal, request: pb.DeleteAccountRequest) -> Closing:
        now, account_id = self._clock.now(), principal.account_id
        if not self._exports.good(request.export_id, account_id, now):
            raise ExportRequired
        known = await self._store.key(principal.api_key_id)
        if known is None:
            raise ApiKeyUnknown
        with told_outward():
            found = await self._scheduler.survey(account_id)
        if found.open_generations or found.open_leases:
            metadata = {"generations": str(found.open_generations), "leases": str(found.open_leases)}
            raise AccountBusy(metadata=metadata)
        wish = Closing(
            account_id=account_id,
            api_key_id=principal.api_key_id,
            digest=known[0].digest,
            pepper_id=known[0].pepper_id,
            export_id=request.export_id,
            withdraw_shared=request.withdraw_shared,
            asked_at=now,
            generations=found.generations,
            images=found.private_images,
            images_withdrawn=found.shared_images if request.withdraw_shared else 0,
        )
        closing, gone = await self._store.close_account(wish)
        for api_key_id in gone:
            self._revoked(api_key_id)
        await failpoint(AFTER_CLOSING)
        return closing

    async def _burn(self, closing: Closing) -> Closing:
        """Have the ledger close the account, if it has not said yet that it did."""
        if closing.burned_mkudos is not None:
            return closing
        event = ledger_service.Event(
            event_id=str(uuid5(UUID(closing.account_id), "close")),
            close_account=ledger_service.CloseAccount(account_id=closing.account_id),
        )
        entry = await self._ledger.apply(event)
        await failpoint(AFTER_BURNING)
        burned = sum(transfer.amount_mkudos for transfer in entry.transfers)
        await self._store.change_closing(closing.account_id, {"burned_mkudos": burned})
        return replace(closing, burned_mkudos=burned)

    async def run(self) -> None:
        """Go on with every account that was ended, until nothing of it is left. Runs until cancelled."""
        while True:
            self._begun.clear()
            try:
                left = await self._step()
            except ServiceError as error:
                log.warning("accounts that were ended cannot be looked at", error=str(error))
                left = False
            if left:
                await self._clock.sleep(STEP_SECONDS)
                continue
            await self._wait()

    async def _wait(self) -> None:
        """Until an account is ended here, or it is time to look what others have left."""
        timer = self._clock.call_later(LOOK_SECONDS, self._begun.set)
        try:
            await self._begun.wait()
        finally:
            timer.cancel()

    async def _step(self) -> bool:
        """One step for each; whether something is left that can be gone on with at once."""
        after, left = "", False
        while found := await self._store.closings(after, PAGE):
            after = found[-1].account_id
            for closing in found:
                try:
                    left |= await self._go_on(closing)
                except ServiceError as error:
                    # One neighbour away, or one account too much for it, keeps nobody else's from going.
                    log.warning("an account that was ended is not gone yet", error=str(error))
        return left

    async def _go_on(self, closing: Closing) -> bool:
        over = self._clock.now() >= closing.asked_at + ANSWERED
        if closing.forgotten and not over:
            return False
        await self._burn(closing)
        await self._store.forget_standing(closing.account_id, self._clock.now())
        left = await self._scheduler.forget_account(closing.account_id, withdraw_shared=closing.withdraw_shared)
        left += await self._storage.forget(job_pb2.Requester(account_id=closing.account_id))
        left += await self._curation.forget_account(closing.account_id, withdraw_shared=closing.withdraw_shared)
        left += await self._webhooks.forget_account(closing.account_id)
        if left:
            return True
        if over:
            # Once more after an hour: what was on its way when the keys ended has come by then.
            await self._store.forget_closing(closing.account_id)
        elif not closing.forgotten:
            await self._store.change_closing(closing.account_id, {"forgotten": True})
        return False
