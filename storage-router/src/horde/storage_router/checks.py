"""What bytes must pass before they are stored: the look at their structure, and the decoding of what goes public."""

from __future__ import annotations

import asyncio

from horde.storage_router.core.inspection import inspect
from horde.storage_router.core.pictures import Limits, Picture
from horde.storage_router.core.placement import Placement
from horde.storage_router.core.records import Content
from horde.storage_router.decoding import Decoder

IN_THREAD_BYTES = 1 << 20
"""A larger file is looked at in a thread: a checksum over it would hold up everybody else."""


class Checks:
    """Raises NotAnImage, WrongDimensions or TooLarge."""

    def __init__(self, decoder: Decoder, decode_private: bool) -> None:
        self._decoder = decoder
        self._decode_private = decode_private

    async def check(
        self,
        data: bytes,
        sha256: str,
        limits: Limits,
        placement: Placement,
        size: tuple[int, int],
        owner: str,
        *,
        known: bool,
    ) -> Content:
        """What the bytes are. `size` is the exact width and height they must have; `known`, whether the owner has a
        record.
        """
        picture = await _inspect(data, limits)
        picture.check_size(*size)
        if placement is Placement.SHARED or self._decode_private:
            await self._decoder.decode(data, picture, owner, known=known)
        return Content.of(picture, sha256, len(data))


async def _inspect(data: bytes, limits: Limits) -> Picture:
    if len(data) > IN_THREAD_BYTES:
        return await asyncio.to_thread(inspect, data, limits)
    return inspect(data, limits)
