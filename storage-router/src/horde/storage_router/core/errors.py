"""What the router refuses: one class for each StorageErrorReason.

A test walks the proto enum and these classes and fails if they differ.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from horde.services.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
)

DOMAIN = "horde.api.storage.v1"


class NotAnImage(InvalidArgument):
    """Not a whole, single PNG, JPEG or WebP."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "NOT_AN_IMAGE"

    @classmethod
    def as_input(cls, why: str) -> NotAnImage:
        return cls(f"This cannot be taken as a picture: {why}.", metadata={"why": why})

    @classmethod
    def because(cls, why: str) -> NotAnImage:
        return cls(f"Not a whole, single PNG, JPEG or WebP: {why}.", metadata={"why": why})


class WrongDimensions(InvalidArgument):
    """The image does not have the size that was asked for."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "WRONG_DIMENSIONS"

    @classmethod
    def between(cls, expected: tuple[int, int], got: tuple[int, int]) -> WrongDimensions:
        wanted, is_ = (f"{width}x{height}" for width, height in (expected, got))
        return cls(f"Expected {wanted}, got {is_}.", metadata={"expected": wanted, "got": is_})


class TooLarge(InvalidArgument):
    """More bytes or pixels than is allowed."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "TOO_LARGE"

    @classmethod
    def over(cls, limit: int, unit: str) -> TooLarge:
        return cls(f"More than {limit} {unit}.", metadata={"limit": str(limit), "unit": unit})


class ContentConflict(AlreadyExists):
    """Other bytes are stored under this id."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "CONTENT_CONFLICT"

    @classmethod
    def of_digest(cls) -> ContentConflict:
        return cls(metadata={"field": "sha256"})


class LeaseClosed(FailedPrecondition):
    """The lease ended without an object: its job was done by another, cancelled, or has expired."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "LEASE_CLOSED"

    @classmethod
    def of_lease(cls, lease_id: str) -> LeaseClosed:
        return cls(metadata={"lease_id": lease_id})


class TooManyFailures(FailedPrecondition):
    """Too many uploads under this token were refused."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "TOO_MANY_FAILURES"


class DigestMismatch(InvalidArgument):
    """What arrived is not what `finish` says."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "DIGEST_MISMATCH"


class ProtocolViolation(FailedPrecondition):
    """A message that is not allowed here."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "PROTOCOL_VIOLATION"

    @classmethod
    def expected(cls, expected: str, got: str) -> ProtocolViolation:
        return cls(f"Expected {expected}, got {got}.", metadata={"got": got})


class TooSlow(Aborted):
    """The upload stayed below the minimum rate."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "TOO_SLOW"


class ObjectNotFound(NotFound):
    """Nothing, or nothing any more, is stored for this."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "OBJECT_NOT_FOUND"


class PlacementMismatch(FailedPrecondition):
    """The facts do not give the placement that was signed."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "PLACEMENT_MISMATCH"


class LinksUnsupported(FailedPrecondition):
    """This store makes no links; use Download."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "LINKS_UNSUPPORTED"


class InputUnusable(FailedPrecondition):
    """The input is another requester's, or was not stored with this SHA-256, or has expired."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INPUT_UNUSABLE"

    @classmethod
    def named(cls, input_id: str) -> InputUnusable:
        return cls(metadata={"input_id": input_id})


class InvalidField(InvalidArgument):
    """Some fields are not valid."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INVALID_FIELD"


class InputsFull(ResourceExhausted):
    """All stored inputs together take as much room as they may."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INPUTS_FULL"


class ShareExceeded(ResourceExhausted):
    """As much is on its way already as may be, of all together or of whoever this comes from."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "SHARE_EXCEEDED"

    @classmethod
    def of_kind(cls, kind: str) -> ShareExceeded:
        """`kind` of key that has its share; empty if all is taken."""
        return cls(metadata={"of": kind or "all"}, retry_after=timedelta(seconds=1))


class NotText(InvalidArgument):
    """The bytes are not text of their format."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "NOT_TEXT"


class InputInUse(FailedPrecondition):
    """A generation that has not ended uses the input."""

    domain: ClassVar[str] = DOMAIN
    reason: ClassVar[str] = "INPUT_IN_USE"

    @classmethod
    def named(cls, input_id: str) -> InputInUse:
        return cls(metadata={"input_id": input_id})


ERRORS: tuple[type[ServiceError], ...] = (
    NotAnImage,
    WrongDimensions,
    TooLarge,
    ContentConflict,
    DigestMismatch,
    ProtocolViolation,
    TooSlow,
    ObjectNotFound,
    PlacementMismatch,
    LinksUnsupported,
    InputUnusable,
    InvalidField,
    InputsFull,
    LeaseClosed,
    TooManyFailures,
    ShareExceeded,
    NotText,
    InputInUse,
)
"""Every reason of this package."""
