"""What the mesh says of a lease at its end, or before it: plain values, in the words of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from horde.worker_agent.core.jobs import MilliKudos


class Disposition(IntEnum):
    """What became of an outcome; numbered as in the contract."""

    UNSPECIFIED = 0
    ACCEPTED = 1
    DUPLICATE = 2
    INVALID_RECEIPT = 3
    UNKNOWN_JOB = 4
    OUTCOME_INVALID = 5
    REJECTED = 6


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the ledger's entry says, in milli-kudos."""

    earned: MilliKudos
    to_spend: MilliKudos
    to_escrow: MilliKudos
    tax: MilliKudos
    escrow_reason: str = ""
    base: MilliKudos = MilliKudos(0)  # noqa: RUF009 - a NewType is no call
    """Of the price, before the multipliers; 0: not told."""
    multipliers: tuple[tuple[str, int], ...] = ()
    """What made the painting dearer: in words, and in thousandths."""


class RevocationReason(IntEnum):
    """Why a lease was taken back; numbered as in the contract."""

    UNSPECIFIED = 0
    CANCELLED = 1
    SUPERSEDED = 2
    LAPSED = 3
    EXPIRED = 4
    UNKNOWN = 5
    RECALLED = 6
