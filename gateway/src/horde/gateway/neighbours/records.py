"""Which owners have a record: the ledger has paid for images of theirs.

Who was known once stays known while this process runs: a ledger that is late must not cost an honest owner a seat.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from horde.api.ledger.v1 import ledger_pb2
from horde.services.errors import ServiceError

PATIENCE_SECONDS = 2.0
"""How long a worker that attaches waits for the ledger's word; then its owner counts as new."""
MAX_KNOWN = 50_000


class Source(Protocol):
    """What is needed of the ledger."""

    async def balance(self, account_id: str, kind: ledger_pb2.LedgerAccountKind.ValueType) -> ledger_pb2.Balance:
        """What one ledger account holds now."""


class Records:
    """Whether owners have earned by painting."""

    def __init__(self, ledger: Source) -> None:
        self._ledger = ledger
        self._known: OrderedDict[str, None] = OrderedDict()

    async def has(self, account_id: str) -> bool:
        """Whether an owner has earned: he is trusted, or a part of it waits in his escrow."""
        if account_id in self._known:
            self._known.move_to_end(account_id)
            return True
        kinds = (ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND, ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                spend, escrow = await asyncio.gather(*(self._ledger.balance(account_id, kind) for kind in kinds))
        except (ServiceError, TimeoutError):
            return False
        if not spend.owner_trusted and not escrow.posted_mkudos:
            return False
        self._known[account_id] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True
