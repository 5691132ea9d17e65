"""Refusals of StandingService, and the one that any RPC may answer with."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied

STANDING = "horde.api.standing.v1"


class InvalidStandingField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = STANDING
    reason: ClassVar[str] = "INVALID_FIELD"


class RestrictionNotFound(NotFound):
    """There is no such restriction, or it is about somebody else."""

    domain: ClassVar[str] = STANDING
    reason: ClassVar[str] = "RESTRICTION_NOT_FOUND"


class RestrictionConflict(AlreadyExists):
    """This request_id was used for something else."""

    domain: ClassVar[str] = STANDING
    reason: ClassVar[str] = "REQUEST_CONFLICT"


class Restricted(PermissionDenied):
    """The caller, his worker or his address is paused or banned."""

    domain: ClassVar[str] = STANDING
    reason: ClassVar[str] = "RESTRICTED"
