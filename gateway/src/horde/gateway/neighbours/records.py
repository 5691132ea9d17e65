"""Which owners have a record: the ledger has paid for images of theirs.

Who was known once stays known while this process runs: a ledger that is late must not cost an honest owner a seat. Who
has none is not asked about again for a while, and however many of his workers come at once, it is one question: those
that are refused for it must cost next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from horde.api.ledger.v1 import ledger_pb2
from horde.services.clock import Clock
from horde.services.errors import ServiceError

PATIENCE_SECONDS = 2.0
"""How long a worker that attaches waits for the ledger's word; then its owner counts as new."""
NEW_SECONDS = 10.0
"""For how long an owner without a record is taken to have none."""
MAX_KNOWN = 50_000
"""Owners with a record, and again without."""


class Source(Protocol):
    """What is needed of the ledger."""

    async def balance(self, account_id: str, kind: ledger_pb2.LedgerAccountKind.ValueType) -> ledger_pb2.Balance:
        """What one ledger account holds now."""


class Records:
    """Whether owners have earned by painting."""

    def __init__(self, ledger: Source, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: OrderedDict[str, None] = OrderedDict()
        self._new: OrderedDict[str, float] = OrderedDict()
        """Until when."""
        self._asking: dict[str, asyncio.Future[bool]] = {}

    async def has(self, account_id: str) -> bool:
        """Whether an owner has earned: he is trusted, or a part of it waits in his escrow."""
        if account_id in self._known:
            self._known.move_to_end(account_id)
            return True
        if self._new.get(account_id, 0.0) > self._clock.monotonic():
            return False
        while (asked := self._asking.get(account_id)) is not None:
            await asyncio.wait([asked])
            if not asked.cancelled():  # Otherwise whoever asked first has hung up.
                return asked.result()
        asking = self._asking[account_id] = asyncio.get_running_loop().create_future()
        try:
            has = await self._ask(account_id)
            asking.set_result(has)
            return has
        finally:
            del self._asking[account_id]
            asking.cancel()

    async def _ask(self, account_id: str) -> bool:
        kinds = (ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND, ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                spend, escrow = await asyncio.gather(*(self._ledger.balance(account_id, kind) for kind in kinds))
        except (ServiceError, TimeoutError):
            return False
        if not spend.owner_trusted and not escrow.posted_mkudos:
            self._new[account_id] = self._clock.monotonic() + NEW_SECONDS
            self._new.move_to_end(account_id)
            if len(self._new) > MAX_KNOWN:
                self._new.popitem(last=False)
            return False
        self._new.pop(account_id, None)
        self._known[account_id] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True
