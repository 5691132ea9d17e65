"""A painter that needs no model: the same picture for the same prompt and seed, and any misbehaviour on command.

Commands are words in brackets, in the prompt or in the painter's own script, which counts for every picture:

    [slow:0.5]    so many seconds a step            [censor]      withhold the picture
    [fail]        break                             [refuse]      give it back
    [hang]        be silent until revoked           [vanish]      the process dies at once (SIGKILL), in mid-job
    [junk]        bytes that are no image           [truncated]   half an image
    [wrong-size]  8 pixels too wide                 [lie]         claim a receipt without an upload
    [deviate]     report a deviation                [instant]     a ready picture of about 50 KB, at no cost

With `@NAME` at its end (`[fail@anna]`) a command counts only for the worker of that name.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from horde.services.clock import Clock, SystemClock
from horde.worker_agent.core.jobs import (
    Cancelled,
    Capabilities,
    Censored,
    Deviation,
    DeviationKind,
    Failed,
    FailureReason,
    Feature,
    InputId,
    Making,
    ModelOffer,
    NoiseSchedule,
    Picture,
    RefusalReason,
    Refused,
    Sampler,
)
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.pictures import encode_preview, encode_webp
from horde.worker_agent.painters.port import Claimed, Finished, Onlooker, Work

if TYPE_CHECKING:
    from PIL.Image import Image

COMMAND = re.compile(r"\[([a-z-]+)(?::([0-9.]+))?(?:@([A-Za-z0-9_.-]+))?\]")
POOL_SIZES = 32
"""How many sizes the pool of ready pictures remembers."""
POOL_PICTURES = 4
"""Ready pictures of each size."""
READY_BYTES = 50_000
"""How large a ready picture is, about."""
MAX_PIXELS = 4096 * 4096


def _die() -> None:
    import psutil

    # Windows knows no SIGKILL, but the same end.
    psutil.Process().kill()


class ScriptedPainter:
    """Paints deterministically, and misbehaves as told."""

    def __init__(
        self,
        models: tuple[str, ...] = ("paintbox",),
        *,
        name: str = "",
        script: str = "",
        quality: int = 80,
        max_pixels: int = 0,
        places: int = 1,
        clock: Clock | None = None,
        die: Callable[[], None] = _die,
    ) -> None:
        self.places = places
        self._easels = asyncio.Semaphore(places)
        self._name = name
        self._script = self._commands(script)
        self._quality = quality
        self._max_pixels = max_pixels or MAX_PIXELS
        self._offered = self._offer_of(models)
        self._changed: Callable[[], None] = lambda: None
        self._clock = clock or SystemClock()
        self._die = die
        self._pool: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._making = asyncio.Lock()

    def capabilities(self) -> Capabilities:
        return self._offered

    def on_change(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def serve(self, models: Sequence[ModelSource]) -> None:
        self._offered = self._offer_of([model.name for model in models])
        self._changed()

    def _offer_of(self, models: Sequence[str]) -> Capabilities:
        return Capabilities(
            tuple(
                ModelOffer(
                    model,
                    loaded=True,
                    max_pixels=self._max_pixels,
                    features=frozenset(Feature),
                    samplers=frozenset(Sampler) - {Sampler.DEFAULT},
                    schedules=frozenset(NoiseSchedule) - {NoiseSchedule.DEFAULT},
                )
                for model in models
            )
        )

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work:
        commands = self._script | self._commands(picture.prompt) if "[" in picture.prompt else self._script
        if all(picture.model != model.name for model in self._offered.models):
            return Refused(RefusalReason.MODEL_UNAVAILABLE, f"there is no model {picture.model} here")
        if "refuse" in commands:
            return Refused(RefusalReason.CONTENT_DECLINED, "as the script says")
        async with self._easels:
            onlooker.begun()
            if "instant" in commands and commands.keys() == {"instant"}:
                return Finished(await self._ready(picture))
            step = await self._step_through(picture, commands, onlooker, cancelled)
            if step < picture.steps:
                return Cancelled(step)
            return await self._finish(picture, commands)

    async def close(self) -> None:
        self._pool.clear()

    async def _step_through(
        self, picture: Picture, commands: Mapping[str, str], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> int:
        seconds = float(commands.get("slow") or 0)
        for step in range(1, picture.steps + 1):
            if seconds:
                await self._pause(seconds, cancelled)
            if cancelled.is_set():
                return step - 1
            onlooker.stepped(step)
            if onlooker.wants_preview():
                onlooker.previewed(step, encode_preview(draw(picture)))
            if step > picture.steps // 2 and "vanish" in commands:
                self._die()
            if step > picture.steps // 2 and "hang" in commands:
                await cancelled.wait()
            if not step % 8:
                await asyncio.sleep(0)
        return picture.steps

    async def _pause(self, seconds: float, cancelled: asyncio.Event) -> None:
        woken = asyncio.Event()
        timer = self._clock.call_later(seconds, woken.set)
        waits = [asyncio.create_task(woken.wait()), asyncio.create_task(cancelled.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for wait in waits:
                wait.cancel()

    async def _finish(self, picture: Picture, commands: Mapping[str, str]) -> Work:
        if "fail" in commands:
            return Failed(FailureReason.BACKEND, "as the script says")
        if "censor" in commands:
            return Censored("as the script says")
        if "lie" in commands:
            return Claimed("this.is.no-receipt")
        if "junk" in commands:
            return Finished(hashlib.sha256(picture.prompt.encode()).digest() * 64)
        if "instant" in commands:
            image = await self._ready(picture)
        else:
            wider = 8 if "wrong-size" in commands else 0
            image = encode_webp(draw(picture, wider), quality=self._quality)
        if "truncated" in commands:
            image = image[: len(image) // 2]
        deviations = (Deviation(DeviationKind.OMITTED, "schedule", "KARRAS"),) if "deviate" in commands else ()
        making = Making(picture.sampler, steps=picture.steps, engine="scripted")
        return Finished(image, deviations, making)

    def _commands(self, text: str) -> dict[str, str]:
        return {word: value for word, value, name in COMMAND.findall(text) if not name or name == self._name}

    async def _ready(self, picture: Picture) -> bytes:
        size = (picture.width, picture.height)
        if size not in self._pool:
            async with self._making:
                if size not in self._pool:
                    self._pool[size] = await asyncio.to_thread(_ready_pictures, *size)
            if len(self._pool) > POOL_SIZES:
                self._pool.popitem(last=False)
        ready = self._pool[size]
        return ready[picture.seed % len(ready)]


def draw(picture: Picture, wider: int = 0) -> Image:
    """A picture of soft colours that the prompt, the negative prompt and the seed decide."""
    from PIL import Image

    words = f"{picture.model}\n{picture.prompt}\n{picture.negative_prompt}\n{picture.seed}".encode()
    noise = hashlib.shake_256(words).digest(8 * 8 * 3)
    return Image.frombytes("RGB", (8, 8), noise).resize(
        (picture.width + wider, picture.height), Image.Resampling.BICUBIC
    )


def ready_picture(width: int, height: int, index: int) -> bytes:
    """A real WebP of READY_BYTES or less, as near as the size allows: noise, at the best quality that fits."""
    from PIL import Image

    noise = hashlib.shake_256(f"{width}x{height}/{index}".encode()).digest(width * height // 16 * 3 or 3)
    coarse = Image.frombytes(
        "RGB", (width // 4 or 1, height // 4 or 1), noise[: (width // 4 or 1) * (height // 4 or 1) * 3]
    )
    image = coarse.resize((width, height), Image.Resampling.BILINEAR)
    low, high, best = 1, 100, encode_webp(image, quality=1, effort=0)
    while low <= high:
        quality = (low + high) // 2
        encoded = encode_webp(image, quality=quality, effort=0)
        if len(encoded) <= READY_BYTES:
            low, best = quality + 1, max(best, encoded, key=len)
        else:
            high = quality - 1
    return best


def _ready_pictures(width: int, height: int) -> list[bytes]:
    return [ready_picture(width, height, index) for index in range(POOL_PICTURES)]
