"""Previews: what a watcher sees is a small JPEG that the gateway made, and what is no picture is never seen."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from PIL import Image

from horde.gateway.core.previews import Glimpse, Previews
from horde.gateway.doors import redrawing
from horde.gateway.doors.redrawing import Redrawing
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import until


class Watched:
    """A lease of which previews are wanted, and what its watcher sees."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.previews = Previews(self.clock)
        self.redrawing = Redrawing(self.previews, self.clock)
        self.seen: list[Glimpse] = []
        self.previews.watch("G", self.seen.append)
        self.previews.lent("w", "L", "J", "G", lambda lease_id, wanted: None)

    async def bring(self, image: bytes) -> None:
        """Bring one, and wait until it is seen or dropped."""
        before = len(self.seen) + self.redrawing.dropped
        self.clock.jump(1.0)
        self.redrawing.show("w", "L", 1, image)
        await until(lambda: len(self.seen) + self.redrawing.dropped == before + 1)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    it = Watched()
    running = asyncio.create_task(it.redrawing.run())
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def picture(form: str = "PNG", side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(out, form)
    return out.getvalue()


def png_of(width: int, height: int, body: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


NO_PICTURES = {
    "magic bytes and garbage": b"\xff\xd8\xff" + os.urandom(4_000),
    "magic bytes and escape codes": b"\x89PNG\r\n\x1a\n" + b"\x1b]0;owned\x07\x1b[2J" * 20,
    "a PNG that says it is 30,000 pixels wide": png_of(30_000, 30_000, zlib.compress(bytes(10_000))),
    "a GIF inside of a RIFF": b"RIFF\x10\x00\x00\x00WEBPGIF89a" + bytes(100),
}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_shown_as_a_jpeg_of_the_gateways_own(form: str) -> None:
    async with watched() as it:
        brought = picture(form)
        await it.bring(brought)
        (glimpse,) = it.seen
        assert glimpse.image != brought
        with Image.open(io.BytesIO(glimpse.image)) as shown:
            assert (shown.format, shown.size) == ("JPEG", (64, 64))


async def test_what_is_no_small_picture_is_dropped_and_the_next_one_is_seen() -> None:
    async with watched() as it:
        for image in NO_PICTURES.values():
            await it.bring(image)
        assert not it.seen
        await it.bring(picture())
        assert len(it.seen) == 1


async def test_a_bomb_behind_a_picture_costs_no_more_than_the_picture() -> None:
    async with watched() as it:
        await it.bring(png_of(500, 500, zlib.compress(bytes(20 << 20), 9)))
        (glimpse,) = it.seen
        assert len(glimpse.image) < 4_000


async def test_a_child_that_dies_is_replaced() -> None:
    async with watched() as it:
        await it.bring(picture())
        for child in psutil.Process().children():
            if any("preview_child" in word for word in child.cmdline()):
                child.kill()
        await it.bring(picture())
        await it.bring(picture())
        assert it.redrawing.started == 2
        assert len(it.seen) >= 2


async def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawing, "MAX_WAITING", 2)
    it = Watched()
    for _ in range(4):
        it.clock.jump(1.0)
        it.redrawing.show("w", "L", 1, picture())
    assert it.redrawing.dropped == 2
