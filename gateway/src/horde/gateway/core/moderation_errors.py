"""Refusals about prompt filters."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import AlreadyExists, InvalidArgument

MODERATION = "horde.api.moderation.v1"


class InvalidFilterField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = MODERATION
    reason: ClassVar[str] = "INVALID_FIELD"


class FilterConflict(AlreadyExists):
    """This request_id was used for something else."""

    domain: ClassVar[str] = MODERATION
    reason: ClassVar[str] = "REQUEST_CONFLICT"
