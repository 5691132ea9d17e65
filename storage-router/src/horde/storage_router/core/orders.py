"""What the scheduler orders: commits, withdrawals; as values of this service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from horde.storage_router.core.errors import PlacementMismatch
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts, check_placement
from horde.storage_router.core.records import Content


@dataclass(frozen=True, slots=True)
class CommitOrder:
    """Move the one object of a lease to its final place."""

    job_id: str
    lease_id: str
    requester: str
    sha256: str
    placement: Placement
    facts: PlacementFacts
    object_name: str
    keep_for: timedelta
    accepted_at: datetime
    made: Mapping[str, object]
    """How it was painted, as plain data, for the record beside a shared image."""
    painter: str = ""
    """The account whose worker painted it; empty: not told."""
    traceparent: str = ""
    """Of the requester's call: orders of many traces come in one batch."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An image in place. Shared images do not expire."""

    size_bytes: int
    format: ImageFormat
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """An image that may go public. It cannot be made for one that may not: that is its whole purpose.

    The shared bucket takes nothing else. So whatever else is wrong, bytes reach it only if the facts of the order, the
    placement of the order and the placement that the worker's grant was signed with all say SHARED.
    """

    order: CommitOrder
    content: Content
    signed: Placement
    """In the grant under which the bytes came."""

    def __post_init__(self) -> None:
        check_placement(self.order.placement, self.order.facts)
        for placement in (self.order.placement, self.signed):
            if placement is not Placement.SHARED:
                raise PlacementMismatch(metadata={"signed": placement.value, "computed": Placement.SHARED.value})
        if self.content.sha256 != self.order.sha256:
            raise ValueError("published content must be what was ordered")


@dataclass(frozen=True, slots=True)
class WithdrawOrder:
    """Delete a committed image."""

    job_id: str
    object_name: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class PictureRef:
    """Where a picture is: in quarantine under a lease, or (no lease) in place."""

    job_id: str
    lease_id: str
    object_name: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class CompareOrder:
    """Say how far two pictures are from each other."""

    one: PictureRef
    other: PictureRef


@dataclass(frozen=True, slots=True)
class DiscardOrder:
    """Delete what a lease left in quarantine."""

    job_id: str
    lease_id: str
