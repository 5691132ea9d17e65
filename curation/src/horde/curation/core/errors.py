"""Every refusal of the three public services, by the reasons that the contract lists."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import InvalidArgument, NotFound

MODERATION = "horde.api.moderation.v1"


class InvalidModerationField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = MODERATION
    reason: ClassVar[str] = "INVALID_FIELD"


class ImageNotFound(NotFound):
    """There is no such image, or none that you could see."""

    domain: ClassVar[str] = MODERATION
    reason: ClassVar[str] = "IMAGE_NOT_FOUND"


class CaseNotFound(NotFound):
    """There is no such case."""

    domain: ClassVar[str] = MODERATION
    reason: ClassVar[str] = "CASE_NOT_FOUND"
