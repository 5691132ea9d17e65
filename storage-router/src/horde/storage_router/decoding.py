"""Decodes pictures in a small pool of child processes, each bounded in memory and time, each replaced when it dies.

A picture that kills two children is a bad picture. One that takes too long is, too: the child is killed from here.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from horde.services import telemetry
from horde.services.deadlines import without_deadline
from horde.services.errors import Unavailable
from horde.storage_router import decoder_child
from horde.storage_router.core.errors import NotAnImage
from horde.storage_router.core.pictures import ImageFormat, Picture

log = telemetry.get_logger(__name__)

MAX_DECODED = 2_000
"""Pictures after which a child is replaced, so that nothing builds up in it."""

ENDED = "decoding it ended the decoder"
SLOW = "decoding it takes too long"

_NAMES = {ImageFormat.PNG: b"PNG ", ImageFormat.JPEG: b"JPEG", ImageFormat.WEBP: b"WEBP"}


class Decoder(Protocol):
    """Decodes pictures."""

    async def decode(self, data: bytes, picture: Picture) -> None:
        """Decode every pixel. Raises NotAnImage."""


class DecoderPool:
    """`size` children, started at first need. Use as an async context."""

    def __init__(self, size: int, max_pixels: int, memory_bytes: int, timeout_seconds: float) -> None:
        self._arguments = (str(max_pixels), str(memory_bytes))
        self._timeout = timeout_seconds
        self._idle: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._idle.put_nowait(None)
        self._children: set[_Child] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self.started = 0
        """How many children there have been."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for child in list(self._children):
            self._end(child)
        await asyncio.gather(*self._endings)

    async def decode(self, data: bytes, picture: Picture) -> None:
        """Decode every pixel. Raises NotAnImage."""
        why = await self._decode(data, picture)
        if why == ENDED:
            # It may have been ended by something else: a picture is bad if it ends two.
            why = await self._decode(data, picture)
        if why:
            raise NotAnImage.because(why)

    async def _decode(self, data: bytes, picture: Picture) -> str:
        child = await self._idle.get()
        why = ENDED
        try:
            if child is None:
                child = await self._start()
            why = await asyncio.wait_for(child.decode(data, picture), self._timeout)
        except TimeoutError:
            why = SLOW
        except (OSError, EOFError):
            pass
        finally:
            # Also when this call was cancelled: a late answer would be taken for the next picture's.
            if child is not None and (why in (ENDED, SLOW) or child.decoded >= MAX_DECODED):
                self._end(child)
                child = None
            self._idle.put_nowait(child)
        return why

    async def _start(self) -> _Child:
        with without_deadline():
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    str(Path(decoder_child.__file__)),
                    *self._arguments,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env={},
                )
            except OSError as error:
                raise Unavailable("The decoder does not start.") from error
        self.started += 1
        child = _Child(process)
        self._children.add(child)
        return child

    def _end(self, child: _Child) -> None:
        """Kill it; the loop's child watcher takes it from there."""
        log.info("a decoder is replaced", pid=child.process.pid, decoded=child.decoded)
        self._children.discard(child)
        if child.process.returncode is None:
            child.process.kill()
        ending = asyncio.create_task(_wait(child.process))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


async def _wait(process: asyncio.subprocess.Process) -> None:
    await process.wait()


class _Child:
    """One process, one picture at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.decoded = 0

    async def decode(self, data: bytes, picture: Picture) -> str:
        sink, source = self.process.stdin, self.process.stdout
        assert sink is not None
        assert source is not None
        sink.write(decoder_child.HEAD.pack(_NAMES[picture.format], picture.width, picture.height, len(data)) + data)
        await sink.drain()
        try:
            length = decoder_child.ANSWER.unpack(await source.readexactly(decoder_child.ANSWER.size))[0]
            text = await source.readexactly(length) if length else b""
        except asyncio.IncompleteReadError as error:
            raise EOFError from error
        self.decoded += 1
        return text.decode("utf-8", "replace")
