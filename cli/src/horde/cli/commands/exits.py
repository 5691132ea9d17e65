"""Exit statuses that scripts can decide on, and how an error becomes one."""

from __future__ import annotations

from enum import IntEnum

from horde.services import errors as kinds


class Exit(IntEnum):
    """What `horde` ends with."""

    OK = 0
    FAILED = 1
    """Something else went wrong; the message says what."""
    USAGE = 2
    """A wrong option, or a field that the mesh refuses."""
    KUDOS = 3
    """Refused for kudos: too few, a budget spent, or over --max-price."""
    AUTH = 4
    """The API key is missing, unknown, or not enough."""
    NOT_FOUND = 5
    """No such thing of yours."""
    UNAVAILABLE = 6
    """The mesh cannot be reached, or cannot do it now. Try again later."""
    INCOMPLETE = 7
    """It ended without all of its images; those that are there were saved."""
    CANCELLED = 130
    """You cancelled."""


HELP = """\b
Exit statuses:
  0    all is well
  1    something else went wrong
  2    a wrong option, or a field that the mesh refuses
  3    refused for kudos: too few, a budget spent, or over --max-price
  4    the API key is missing, unknown, or not enough
  5    no such thing of yours
  6    the mesh cannot be reached, or not now: try again later
  7    ended without all images; those that are there were saved
  130  cancelled
"""

_KUDOS_REASONS = frozenset({"INSUFFICIENT_KUDOS", "BUDGET_SPENT", "LIMIT_REACHED", "PRICE_ABOVE_MAXIMUM"})
_BY_KIND: tuple[tuple[type[kinds.ServiceError], Exit], ...] = (
    (kinds.InvalidArgument, Exit.USAGE),
    (kinds.OutOfRange, Exit.USAGE),
    (kinds.Unauthenticated, Exit.AUTH),
    (kinds.PermissionDenied, Exit.AUTH),
    (kinds.NotFound, Exit.NOT_FOUND),
    (kinds.Unavailable, Exit.UNAVAILABLE),
    (kinds.DeadlineExceeded, Exit.UNAVAILABLE),
    (kinds.ResourceExhausted, Exit.UNAVAILABLE),
)


def exit_of(error: kinds.ServiceError) -> Exit:
    """The status for an error of the mesh."""
    if error.reason in _KUDOS_REASONS:
        return Exit.KUDOS
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), Exit.FAILED)
