"""Images that somebody with a copy of a release must take out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RemovalPlace:
    """A place in the list of removals."""

    removed_at: datetime
    image_id: str


@dataclass(frozen=True, slots=True)
class Removal:
    """An image that was withdrawn, or found unsafe, after it was shared."""

    image_id: str
    sha256: str
    """Of the picture as it was shared."""
    journal_hour: datetime
    """By which it belongs to a release."""
    removed_at: datetime
    moderated: bool

    @property
    def place(self) -> RemovalPlace:
        return RemovalPlace(self.removed_at, self.image_id)
