"""Whose bytes may be in memory, and how many of them: inputs and images apart, each by whoever they come from.

Accounts, and owners whose pictures passed lately, have places of their own. All others are counted by their address as
well: names cost nothing to make.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from horde.services.shares import Pot, Tab, Taker
from horde.storage_router.core import keys
from horde.storage_router.core.assembly import MAX_CHUNK_BYTES
from horde.storage_router.core.errors import ShareExceeded
from horde.storage_router.core.failures import Failures
from horde.storage_router.doors.permits import PutInputTicket, UploadGrant

KEPT = 4
"""One part in so many is for those with a record."""


class UploadShares:
    """Two pots of bytes."""

    def __init__(self, image_bytes: int, input_bytes: int, failures: Failures) -> None:
        self.images = _pot(image_bytes, {"owner": 0.5, "address": 1.0})
        self.inputs = _pot(input_bytes, {"requester": 0.25, "address": 0.5})
        self._failures = failures

    def of_image(self, grant: UploadGrant, address: str) -> AbstractContextManager[Tab]:
        """The tab of an upload under this grant. What is put on it may raise ShareExceeded."""
        known = self._failures.has_record(grant.owner)
        return self.images.tab(_taker("owner", grant.owner, address, known=known))

    def of_input(self, ticket: PutInputTicket, address: str) -> AbstractContextManager[Tab]:
        """The tab of an upload under this ticket. What is put on it may raise ShareExceeded."""
        known = not ticket.requester.startswith(keys.ANONYMOUS)
        return self.inputs.tab(_taker("requester", ticket.requester, address, known=known))


def _taker(kind: str, name: str, address: str, *, known: bool) -> Taker:
    return Taker(((kind, name), ("address", "" if known else address)), known)


def _pot(capacity: int, shares: dict[str, float]) -> Pot:
    return Pot(capacity, shares, ShareExceeded.of_kind, kept=capacity // KEPT, least=MAX_CHUNK_BYTES)
