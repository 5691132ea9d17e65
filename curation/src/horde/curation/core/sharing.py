"""What somebody has shared, as it is told to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from horde.curation.core.images import SharedImage
from horde.curation.core.releases import Finished

MAX_IMAGES_OF_GENERATION: Final = 20
SETTLED: Final = timedelta(hours=2)
"""After which nothing that was shared before a wish can still become known: an hour of the journal, and some more."""


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """A place in somebody's list."""

    shared_at: datetime
    image_id: str


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody takes back everything that they have shared until then."""

    requester: str
    at: datetime


def job_ids_of(generation_id: str) -> list[str]:
    """The ids of all images that a generation can have, by the contract's rule."""
    return [str(uuid5(UUID(generation_id), str(index))) for index in range(MAX_IMAGES_OF_GENERATION)]


def carried_by(image: SharedImage, releases: Sequence[Finished]) -> list[str]:
    """Releases that an image falls into by its hour of the journal, and that were made while it was there."""
    return [
        release.name
        for release in releases
        if image.journal_hour is not None
        and release.looked_at(image.journal_hour)
        and (image.withdrawn_at is None or image.withdrawn_at >= release.as_of)
    ]
