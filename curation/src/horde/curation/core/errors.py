"""Every refusal of the three public services, by the reasons that the contract lists."""

from __future__ import annotations

from typing import ClassVar

from horde.services.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

GENERATION = "horde.api.generation.v1"
MODERATION = "horde.api.moderation.v1"
RELEASE = "horde.api.release.v1"
RATING = "horde.api.rating.v1"


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


class InvalidReleaseField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = RELEASE
    reason: ClassVar[str] = "INVALID_FIELD"


class ReleaseNotFound(NotFound):
    """There is no such data release."""

    domain: ClassVar[str] = RELEASE
    reason: ClassVar[str] = "RELEASE_NOT_FOUND"


class ReleaseConflict(AlreadyExists):
    """There is a release of this name, in other terms."""

    domain: ClassVar[str] = RELEASE
    reason: ClassVar[str] = "RELEASE_CONFLICT"


class ReleaseRunning(FailedPrecondition):
    """Another release is being built; one at a time."""

    domain: ClassVar[str] = RELEASE
    reason: ClassVar[str] = "RELEASE_RUNNING"


class ReleaseFinished(FailedPrecondition):
    """A finished release never changes."""

    domain: ClassVar[str] = RELEASE
    reason: ClassVar[str] = "RELEASE_FINISHED"


class InvalidRatingField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = RATING
    reason: ClassVar[str] = "INVALID_FIELD"


class NothingToRate(NotFound):
    """There is no image that you could rate now."""

    domain: ClassVar[str] = RATING
    reason: ClassVar[str] = "NOTHING_TO_RATE"


class ImageNotShown(FailedPrecondition):
    """Only the image that you were shown can be rated."""

    domain: ClassVar[str] = RATING
    reason: ClassVar[str] = "IMAGE_NOT_SHOWN"


class RatedTooFast(FailedPrecondition):
    """Nobody looks that fast."""

    domain: ClassVar[str] = RATING
    reason: ClassVar[str] = "RATED_TOO_FAST"


class InvalidGenerationField(InvalidArgument):
    """The request is not valid."""

    domain: ClassVar[str] = GENERATION
    reason: ClassVar[str] = "INVALID_FIELD"


class OtherCount(InvalidGenerationField):
    """It is another number of images than you expect; nothing was taken back."""
