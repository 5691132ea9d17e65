"""An input as a viewer shows it: the port, and what a child process answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from horde.storage_router.core.errors import NotAnImage, TooLarge
from horde.storage_router.core.inspection import inspect
from horde.storage_router.core.pictures import Change, Limits, Picture


@dataclass(frozen=True, slots=True)
class Normalised:
    """A plain file: one still picture, turned as it is seen, in sRGB, opaque, with no word about whoever made it."""

    data: bytes
    """The very bytes that were sent, where they were such a file."""
    picture: Picture
    changes: Change


class Normaliser(Protocol):
    """Makes plain files of what people send."""

    async def normalise(self, data: bytes, format: str, limits: Limits, requester: str) -> Normalised:
        """The picture in a file of this format. Raises NotAnImage, TooLarge or ShareExceeded."""


async def is_plain_file(data: bytes, limits: Limits) -> bool:
    """Whether a file is whole and strict enough to be published, so that it may stay as it is. Raises TooLarge."""
    try:
        await asyncio.to_thread(inspect, data, limits)
    except NotAnImage:
        return False
    except TooLarge as error:
        if error.metadata["unit"] == "pixels":
            raise
        return False
    return True


async def read_answer(data: bytes, facts: dict[str, object], out: bytes, limits: Limits) -> Normalised:
    """What a child made. It has held a stranger's bytes, so that its own are looked at like anybody's."""
    if "too_large" in facts:
        raise TooLarge.over(limits.max_pixels, "pixels")
    made = out or data
    picture = await asyncio.to_thread(inspect, made, Limits(1 << 62, limits.max_pixels))
    return Normalised(made, picture, Change(int(str(facts["changes"]))))
