"""Real decoding in real child processes: what only a decoder finds, and what happens to the child."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal

import psutil
import pytest
from PIL import Image

from horde.services.errors import Unavailable
from horde.storage_router.core.errors import NotAnImage
from horde.storage_router.core.inspection import inspect
from horde.storage_router.core.pictures import Limits, Picture
from horde.storage_router.decoding import DecoderPool
from horde.testkit.storage_router import paint

LIMITS = Limits(64 << 20, 1 << 26)


def pool(size: int = 1, *, timeout: float = 20.0, memory: int = 512 << 20) -> DecoderPool:
    return DecoderPool(size, 1 << 26, memory, timeout)


def look(data: bytes) -> Picture:
    return inspect(data, LIMITS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_good_pictures_pass_one_after_another_in_one_child(format: str) -> None:
    async with pool() as decoder:
        for seed in range(3):
            image = paint(format, seed=seed)
            await decoder.decode(image, look(image), "bob", known=True)
        assert decoder.started == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 64)])
async def test_every_kind_of_png_that_passes_the_look_decodes(mode: str, size: tuple[int, int]) -> None:
    out = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(1).randbytes(3 * size[0] * size[1])).convert(mode).save(out, "PNG")
    async with pool() as decoder:
        await decoder.decode(out.getvalue(), look(out.getvalue()), "bob", known=True)


async def test_a_damaged_body_is_no_image_and_the_child_goes_on() -> None:
    image = paint("WEBP", 256, 256, seed=3, lossless=True)
    damaged = image[:200] + bytes(byte ^ 0x5A for byte in image[200:400]) + image[400:]
    async with pool() as decoder:
        with pytest.raises(NotAnImage) as caught:
            await decoder.decode(damaged, look(damaged), "bob", known=True)
        assert "cannot be decoded" in caught.value.metadata["why"]
        await decoder.decode(image, look(image), "bob", known=True)
        assert decoder.started == 1


async def test_a_picture_too_large_for_the_child_is_no_image_and_the_next_one_is() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(out, "PNG")
    async with pool(memory=256 << 20) as decoder:
        with pytest.raises(NotAnImage):
            await decoder.decode(out.getvalue(), look(out.getvalue()), "bob", known=True)
        await decoder.decode(paint(), look(paint()), "bob", known=True)


async def test_a_child_that_is_killed_is_replaced_and_its_picture_not_blamed() -> None:
    async with pool() as decoder:
        await decoder.decode(paint(), look(paint()), "bob", known=True)
        (child,) = (child.process.pid for child in decoder._children)
        os.kill(child, signal.SIGKILL)
        await decoder.decode(paint(), look(paint()), "bob", known=True)
        assert decoder.started == 2


async def test_a_child_that_hangs_is_killed_after_its_time() -> None:
    async with pool(timeout=0.2) as decoder:
        with pytest.raises(Unavailable):
            child = await decoder._start()
            os.kill(child.process.pid, signal.SIGSTOP)
            decoder._idle.append(child)
            await decoder.decode(paint(), look(paint()), "bob", known=True)
        await asyncio.sleep(0)
        assert child not in decoder._children


async def test_a_cancelled_picture_takes_its_child_with_it() -> None:
    async with pool() as decoder:
        await decoder.decode(paint(), look(paint()), "bob", known=True)
        large = paint("PNG", 3000, 3000)
        task = asyncio.create_task(decoder.decode(large, look(large), "bob", known=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await decoder.decode(paint(), look(paint()), "bob", known=True)
        assert decoder.started == 2


async def test_no_child_is_left_behind() -> None:
    before = set(psutil.Process().children())
    async with pool(3) as decoder:
        await asyncio.gather(
            *(decoder.decode(paint(seed=seed), look(paint(seed=seed)), "bob", known=True) for seed in range(12))
        )
        assert 1 <= decoder.started <= 3
        assert set(psutil.Process().children()) - before
    assert set(psutil.Process().children()) <= before


async def test_the_child_sees_nothing_of_our_environment_and_opens_no_files() -> None:
    async with pool() as decoder:
        await decoder.decode(paint(), look(paint()), "bob", known=True)
        (child,) = (psutil.Process(child.process.pid) for child in decoder._children)
        assert child.environ().keys() <= {"LC_CTYPE"}
        assert child.rlimit(psutil.RLIMIT_NOFILE) == (3, 3)
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_AS) == (512 << 20, 512 << 20)
