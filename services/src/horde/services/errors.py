"""Kinds of failure, and what a service says when it refuses.

One class per kind; the kind says what the caller should do about it. A service subclasses a kind to name a reason:

    class OutOfCredit(FailedPrecondition):
        \"\"\"The account cannot pay for this.\"\"\"

        domain = "example.bank.v1"
        reason = "OUT_OF_CREDIT"

The same class then comes out of the call on the other side of the wire (`status.py`). Nothing here knows gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request, named by its path, and what is wrong with it."""

    field: str
    description: str


class ServiceError(Exception):
    """The call failed."""

    reason: ClassVar[str] = ""
    """The name of the proto enum's value without the enum's prefix; empty where the kind says it all."""
    domain: ClassVar[str] = ""
    """The proto package whose enum lists the reason."""

    message: str
    metadata: dict[str, str]
    violations: tuple[FieldViolation, ...]
    retry_after: timedelta | None
    remote: bool
    """Whether it came over the wire from a neighbour."""

    def __init__(
        self,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        self.message = default_message(type(self)) if message is None else message
        self.metadata = dict(metadata) if metadata else {}
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.remote = False
        super().__init__(self.message)

    def __str__(self) -> str:
        if not self.violations:
            return self.message
        return f"{self.message} ({'; '.join(f'{v.field}: {v.description}' for v in self.violations)})"


def default_message(kind: type[ServiceError]) -> str:
    """The first line of the nearest docstring: what is said when nothing else is."""
    for cls in kind.__mro__:
        if issubclass(cls, ServiceError) and cls.__doc__:
            return cls.__doc__.strip().splitlines()[0]
    return ""


class InvalidArgument(ServiceError):
    """The request is not valid, whatever the state of things: change it."""


class Unauthenticated(ServiceError):
    """Who is calling is not known: present a valid credential."""


class PermissionDenied(ServiceError):
    """Who is calling is known, and may not do this."""


class NotFound(ServiceError):
    """What was asked for is not there."""


class AlreadyExists(ServiceError):
    """What was to be made is already there."""


class FailedPrecondition(ServiceError):
    """Things are not in the state that this needs: do something else first."""


class ResourceExhausted(ServiceError):
    """Some limit is reached: wait."""


class Aborted(ServiceError):
    """It collided with something else: repeat the whole read, change and write."""


class OutOfRange(ServiceError):
    """It is past the end of what there is."""


class Unimplemented(ServiceError):
    """This is not done here."""


class Unavailable(ServiceError):
    """It cannot be done just now: repeat the call."""


class DeadlineExceeded(ServiceError):
    """Time ran out; it may have been done or not."""


class Cancelled(ServiceError):
    """The call was given up."""


class DataLoss(ServiceError):
    """Data is lost or damaged for good."""


class Internal(ServiceError):
    """Something is broken here; it is not the caller's fault."""


class Unknown(ServiceError):
    """The call failed in a way that was not told."""
