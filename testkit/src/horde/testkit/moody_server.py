"""An S3 server in front of another, in its own moods: it passes all on, or slowly, or hangs, refuses, is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

CHUNK: Final = 64 * 1024
SLOW_SECONDS: Final = 0.1
"""Before each piece of bytes that is passed on."""


class Mood(Enum):
    """How it behaves."""

    WELL = "well"
    SLOW = "slow"
    HANGS = "hangs"
    """Nothing is passed on, and nobody is told."""
    AWAY = "away"
    """Every connection is cut, also the new ones."""
    BUSY = "busy"
    """Whatever is asked is answered with 503 `SlowDown`, as S3 does when too much is asked of it."""


_SLOW_DOWN: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
SLOW_DOWN: Final = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    + b"Content-Length: %d\r\n\r\n" % len(_SLOW_DOWN)
    + _SLOW_DOWN
)


class MoodyServer:
    """Use `moody_server`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._well = asyncio.Event()
        self._well.set()
        self._open: set[asyncio.StreamWriter] = set()
        self.mood = Mood.WELL
        self.refused = 0
        """Requests that were answered with SLOW_DOWN."""
        self.endpoint = ""

    def turn(self, mood: Mood) -> None:
        """Behave so from now on."""
        self.mood = mood
        if mood is Mood.HANGS:
            self._well.clear()
        else:
            self._well.set()
        if mood is Mood.AWAY:
            for writer in self._open:
                writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.mood is Mood.AWAY:
            writer.close()
            return
        with contextlib.suppress(OSError):
            behind_reader, behind = await asyncio.open_connection(self._host, self._port)
            self._open |= {writer, behind}
            try:
                await asyncio.gather(self._pass(reader, behind, refused=writer), self._pass(behind_reader, writer))
            finally:
                self._open -= {writer, behind}
                behind.close()
        writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refused: asyncio.StreamWriter | None = None
    ) -> None:
        """Bytes go on from one to the other; `refused` hears of it where a server that is busy hears nothing."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._well.wait()
                if self.mood is Mood.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                if self.mood is Mood.BUSY and refused is not None:
                    self.refused += 1
                    refused.write(SLOW_DOWN)
                    await refused.drain()
                    refused.close()
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def moody_server(endpoint: str) -> AsyncIterator[MoodyServer]:
    """In front of HOST:PORT, on a free port of this machine."""
    host, _, port = endpoint.rpartition(":")
    moody = MoodyServer(host, int(port))
    server = await asyncio.start_server(moody.serve, "127.0.0.1", 0)
    moody.endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield moody
    finally:
        moody.turn(Mood.AWAY)
        server.close()
