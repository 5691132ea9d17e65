"""Errors about how somebody stands; see `errors`, which has them all."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied

_STANDING = "horde.api.standing.v1"


class Restricted(PermissionDenied):
    """You, your worker or your address is paused or banned; the message says why, `until` how long."""

    domain: ClassVar[str] = _STANDING
    reason: ClassVar[str] = "RESTRICTED"


class InvalidStandingField(InvalidArgument):
    """Some fields of the request are wrong; `violations` lists them all."""

    domain: ClassVar[str] = _STANDING
    reason: ClassVar[str] = "INVALID_FIELD"


class RestrictionNotFound(NotFound):
    """There is no such restriction, or it is about somebody else."""

    domain: ClassVar[str] = _STANDING
    reason: ClassVar[str] = "RESTRICTION_NOT_FOUND"


class RestrictionConflict(AlreadyExists):
    """This request_id was used for something else: use a new one."""

    domain: ClassVar[str] = _STANDING
    reason: ClassVar[str] = "REQUEST_CONFLICT"
