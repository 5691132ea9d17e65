"""A piece of network of one's own: a relay of TCP on loopback that goes silent as a cut cable does, and can be heard.

While it is silent it takes no new connections and passes nothing on, and nobody is told: both ends keep theirs. What
was sent meanwhile arrives when it speaks again, as from a network that has come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Passes on what comes to `address`. Use `relay`."""

    port: int = 0
    listen: Callable[[bytes], None] | None = None
    """Hears what callers send."""
    rewrite: Callable[[bytes], bytes] = bytes
    """Changes what is answered, piece by piece as it comes."""
    _speaking: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Where callers connect to."""
        return f"127.0.0.1:{self.port}"

    def silence(self) -> None:
        """Pass nothing on from now on."""
        self._speaking.clear()

    def speak(self) -> None:
        """Pass on what comes, and what came meanwhile."""
        self._speaking.set()

    async def serve(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one caller until one of the two ends hangs up."""
        self._writers.add(writer)
        with suppress(OSError):
            await self._speaking.wait()
            there, onward = await _dial(target)
            self._writers.add(onward)
            await asyncio.gather(self._pass(reader, onward, self._heard), self._pass(there, writer, self.rewrite))
            self._writers.discard(onward)
        writer.close()
        self._writers.discard(writer)

    def _heard(self, data: bytes) -> bytes:
        if self.listen is not None:
            self.listen(data)
        return data

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, through: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._speaking.wait()
                writer.write(through(data))
                await writer.drain()
        writer.close()

    def close(self) -> None:
        """Hang up on everybody."""
        for writer in self._writers:
            writer.transport.abort()


async def _dial(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.startswith("/"):
        return await asyncio.open_unix_connection(target)
    host, _, port = target.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@asynccontextmanager
async def relay(
    target: str,
    listen: Callable[[bytes], None] | None = None,
    port: int = 0,
    rewrite: Callable[[bytes], bytes] = bytes,
) -> AsyncIterator[Relay]:
    """A relay to `target`, HOST:PORT or the path of a socket, on a free port or this one. It speaks."""
    made = Relay(listen=listen, rewrite=rewrite)
    made.speak()
    serving: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(made.serve(target, reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)
        await asyncio.wait([task])

    server = await asyncio.start_server(served, "127.0.0.1", port)
    made.port = int(server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()
        made.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
