"""The port for what is kept. One suite holds its adapters to it (`tests/conformance/curation`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol

from horde.curation.core.images import SharedImage


class ImageStore(Protocol):
    """Which shared images there are. All of it is repeatable; Unavailable while the database is away."""

    async def known(self, image_ids: Collection[str]) -> AbstractSet[str]:
        """Those of these (at most 1,000) that are kept."""

    async def add_images(self, images: Sequence[SharedImage]) -> None:
        """Keep images as they were shared. One that is known stays as it is."""

    async def image(self, image_id: str) -> SharedImage | None:
        """One image, withdrawn or not."""

    async def withdraw_images(self, withdrawn: Mapping[str, datetime]) -> None:
        """Note when images were withdrawn; the first time counts. Ids that are not known are nothing."""

    async def place(self, journal: str) -> datetime | None:
        """The hour up to which a journal has been read; None: nothing of it."""

    async def keep_place(self, journal: str, hour: datetime) -> None:
        """Note it."""


class CurationStore(ImageStore, Protocol):
    """All that is kept."""
