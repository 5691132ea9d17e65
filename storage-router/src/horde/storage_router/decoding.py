"""Decodes pictures in a small pool of child processes, each bounded in memory and time, each replaced when it dies.

A picture that kills two children is a bad picture; so is one that takes more than its processor time, which kills the
child. One that takes too long by the clock is not: then the machine is busy, and whoever sent it may try again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from horde.services import telemetry
from horde.services.child_processes import wait_drained
from horde.services.deadlines import without_deadline
from horde.services.errors import Unavailable
from horde.services.turns import Turns
from horde.storage_router import decoder_child
from horde.storage_router.core.errors import NotAnImage, ShareExceeded, TooLarge
from horde.storage_router.core.likeness import SKETCH_BYTES
from horde.storage_router.core.pictures import ImageFormat, Limits, Picture
from horde.storage_router.core.records import Content
from horde.storage_router.normalising import Normalised, is_plain_file, read_answer

log = telemetry.get_logger(__name__)

MAX_DECODED = 2_000
"""Pictures after which a child is replaced, so that nothing builds up in it."""

PIECE_BYTES = 256 * 1024
"""Of a picture, on their way to a child."""

SKETCHES = "the mesh's own sketches"
"""Whose turn they have."""
ENDED = "decoding it ended the decoder"
SLOW = "too slow by the clock"

_NAMES = {ImageFormat.PNG: b"PNG ", ImageFormat.JPEG: b"JPEG", ImageFormat.WEBP: b"WEBP"}


class Decoder(Protocol):
    """Decodes pictures."""

    async def decode(self, data: bytes, picture: Picture, owner: str, *, known: bool) -> None:
        """Decode every pixel, in this owner's turn; `known` if it has a record. Raises NotAnImage or ShareExceeded."""

    async def sketch(self, data: bytes, content: Content) -> bytes:
        """Brightness and colours of the picture, small (`core/likeness.py`). Raises NotAnImage or ShareExceeded."""


class DecoderPool:
    """`size` children, started at first need, used in fair turns. Use as an async context."""

    def __init__(
        self,
        size: int,
        max_pixels: int,
        memory_bytes: int,
        timeout_seconds: float,
        max_out_bytes: int = 0,
        nice: int = 0,
    ) -> None:
        """`max_out_bytes`: of a normalised picture. `nice`: how far the children stand back behind other processes."""
        self._arguments = (str(max_pixels), str(memory_bytes), str(nice))
        self._timeout = timeout_seconds
        self._max_out_bytes = max(max_out_bytes, SKETCH_BYTES)
        self._size = size
        self._turns = Turns(size, lambda: asyncio.get_running_loop().time(), _too_many_wait)
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._endings: set[asyncio.Task[int]] = set()
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

    async def decode(self, data: bytes, picture: Picture, owner: str, *, known: bool) -> None:
        """Decode every pixel, in this owner's turn. Raises NotAnImage or ShareExceeded."""
        name = _NAMES[picture.format]
        head = decoder_child.HEAD.pack(decoder_child.CHECK, False, name, picture.width, picture.height, len(data))
        # One without a record leaves a place to the others, whatever it brings.
        most = self._size if known else max(1, self._size - 1)
        text, _ = await self._ask(head, data, owner, most)
        if text:
            raise NotAnImage.because(text)

    async def sketch(self, data: bytes, content: Content) -> bytes:
        """Brightness and colours of the picture, small. All of these have one turn together, beside the owners'."""
        name = _NAMES[content.format]
        head = decoder_child.HEAD.pack(decoder_child.SKETCH, False, name, content.width, content.height, len(data))
        text, out = await self._ask(head, data, SKETCHES, max(1, self._size - 1))
        if text:
            raise NotAnImage.because(text)
        return out

    async def normalise(self, data: bytes, format: str, limits: Limits, requester: str) -> Normalised:
        """The picture as a viewer shows it, in this requester's turn. Raises NotAnImage, TooLarge or ShareExceeded."""
        may_keep = await is_plain_file(data, limits)
        head = decoder_child.HEAD.pack(decoder_child.NORMALISE, may_keep, format.encode().ljust(4), 0, 0, len(data))
        text, out = await self._ask(head, data, requester, max(1, self._size - 1))
        if not text.startswith("{"):
            raise NotAnImage.as_input(text)
        return await read_answer(data, json.loads(text), out, Limits(self._max_out_bytes, limits.max_pixels))

    async def _ask(self, head: bytes, data: bytes, key: str, most: int) -> tuple[str, bytes]:
        async with self._turns.turn(key, most):
            text, out = await self._ask_child(head, data)
            if text == ENDED:
                # It may have been ended by something else: a picture is bad if it ends two.
                text, out = await self._ask_child(head, data)
        if text == SLOW:
            raise Unavailable("The decoders are too slow just now.")
        return text, out

    async def _ask_child(self, head: bytes, data: bytes) -> tuple[str, bytes]:
        child, why = None, ENDED
        out = b""
        try:
            child = self._idle.pop() if self._idle else await self._start()
            async with asyncio.timeout(self._timeout):
                why, out = await child.ask(head, data, self._max_out_bytes)
        except TimeoutError:
            why = SLOW
        except (OSError, EOFError):
            pass
        finally:
            # Also when this call was cancelled: a late answer would be taken for the next picture's.
            if child is not None and (why in (ENDED, SLOW) or child.decoded >= MAX_DECODED):
                self._end(child)
            elif child is not None:
                self._idle.append(child)
        return why, out

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
        ending = asyncio.create_task(wait_drained(child.process))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _too_many_wait() -> ShareExceeded:
    return ShareExceeded.of_kind("decoders")


class _Child:
    """One process, one picture at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.decoded = 0

    async def ask(self, head: bytes, data: bytes, max_out_bytes: int) -> tuple[str, bytes]:
        """What it answers: a text and bytes. Raises TooLarge for more of them than that."""
        sink, source = self.process.stdin, self.process.stdout
        assert sink is not None
        assert source is not None
        sink.write(head)
        view = memoryview(data)
        for offset in range(0, len(view), PIECE_BYTES):
            # Not all at once: what the child has not read yet would lie here a second time.
            sink.write(view[offset : offset + PIECE_BYTES])
            await sink.drain()
        try:
            length, size = decoder_child.ANSWER.unpack(await source.readexactly(decoder_child.ANSWER.size))
            text = await source.readexactly(length) if length else b""
            if size > max_out_bytes:
                raise TooLarge.over(max_out_bytes, "bytes as a viewer shows it")
            out = await source.readexactly(size) if size else b""
        except asyncio.IncompleteReadError as error:
            raise EOFError from error
        self.decoded += 1
        return text.decode("utf-8", "replace"), out
