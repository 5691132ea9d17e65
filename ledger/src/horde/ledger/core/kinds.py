"""What kinds of events there are, and how jobs end: the contract's numbers."""

from __future__ import annotations

from enum import IntEnum


class EventKind(IntEnum):
    """What an event did; the numbers are the contract's."""

    OPEN_ACCOUNT = 1
    PLACE_HOLDS = 2
    SETTLE = 3
    RELEASE = 4
    UPTIME_REWARD = 5
    AWARD = 6
    GIFT = 7
    PROMOTION = 8
    SLASH = 9
    CORRECTION = 10
    STANDING = 11
    RATING = 12
    CLOSE_ACCOUNT = 13
    VERIFICATION = 14


class JobEnding(IntEnum):
    """How a job ended; the numbers are the contract's."""

    DONE = 1
    CANCELLED = 2
    FAULTED = 3
    EXPIRED = 4
    CENSORED = 5
