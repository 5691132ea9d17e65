"""Yardsticks of this machine in this minute: a processor loop, a durable write, and what bare gRPC does."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from grpc import aio
from mesh_meter import processor_seconds

LOOP = 200_000
"""Turns of the processor loop; about 10 ms of a free core here."""
PAYLOAD = b"x" * 100
SECONDS = 1.5
CALLERS = 32
STREAMS = 8
PICTURE, CALL, RECEIPT, WORD = b"p" * 48_000, b"c" * 1_500, b"r" * 700, b"w" * 900
WORDS = 4
"""What an image of four is made of on the wire, as it was counted at the services: 12.3 messages and 59 KB. Its picture
and the answer, its part of the calls in batches, and words on streams there and back."""
REPLAYED = 1_500
"""Images."""


def processor_ms() -> float:
    """CPU milliseconds of a fixed loop, the best of five: it grows when neighbours share caches and clocks."""
    taken = []
    for _ in range(5):
        begun = time.process_time()
        total = 0
        for number in range(LOOP):
            total += number * number % 7
        taken.append(time.process_time() - begun)
    return min(taken) * 1000


def durable_write_ms(folder: Path, writes: int = 30) -> float:
    """Median milliseconds of a 4 KiB append that is on the disk when it returns."""
    path = folder / "yardstick"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(writes):
            begun = time.perf_counter()
            file.write(b"\x00" * 4096)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    path.unlink()
    return statistics.median(taken) * 1000


async def echo_rates() -> tuple[float, float]:
    """Unary calls a second, and echoed messages a second over bidirectional streams, against a server process."""
    server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(await asyncio.to_thread(server.stdout.readline))
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return await _unary_rate(channel), await _stream_rate(channel)
    finally:
        server.terminate()
        server.wait()


async def replay_ms() -> float:
    """Processor milliseconds of an image's messages and bytes between two processes of bare gRPC, both together."""
    server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(await asyncio.to_thread(server.stdout.readline))
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await _replay(channel, REPLAYED // 5)
            before, mine = processor_seconds({"server": server.pid})["server"], time.process_time()
            await _replay(channel, REPLAYED)
            theirs = processor_seconds({"server": server.pid})["server"] - before
            return 1000 * (theirs + time.process_time() - mine) / REPLAYED
    finally:
        server.terminate()
        server.wait()


async def _replay(channel: aio.Channel, images: int) -> None:
    put: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/echo.Echo/Put")
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/echo.Echo/Put")
    left = iter(range(images))

    async def painting() -> None:
        stream: Any = channel.stream_stream("/echo.Echo/Stream")()
        for _ in left:
            await put(PICTURE)
            await call(CALL)
            for _ in range(WORDS):
                await stream.write(WORD)
                await stream.read()
        await stream.done_writing()

    await asyncio.gather(*(painting() for _ in range(CALLERS)))


async def _unary_rate(channel: aio.Channel) -> float:
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/echo.Echo/Unary")
    await call(PAYLOAD)
    ends = time.perf_counter() + SECONDS

    async def calling() -> int:
        count = 0
        while time.perf_counter() < ends:
            await call(PAYLOAD)
            count += 1
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(calling() for _ in range(CALLERS)))
    return sum(counts) / (time.perf_counter() - begun)


async def _stream_rate(channel: aio.Channel) -> float:
    ends = time.perf_counter() + SECONDS

    async def streaming() -> int:
        stream: Any = channel.stream_stream("/echo.Echo/Stream")()
        count = 0
        while time.perf_counter() < ends:
            await stream.write(PAYLOAD)
            await stream.read()
            count += 1
        await stream.done_writing()
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(streaming() for _ in range(STREAMS)))
    return sum(counts) / (time.perf_counter() - begun)


class _Echo:
    """Answers with what it was asked, with no generated code and nothing around it."""

    def service(self, details: Any) -> Any:
        import grpc

        async def unary(request: bytes, context: Any) -> bytes:
            return request

        async def put(request: bytes, context: Any) -> bytes:
            return RECEIPT

        async def stream(requests: Any, context: Any) -> Any:
            async for request in requests:
                yield request

        if details.method.endswith("Unary"):
            return grpc.unary_unary_rpc_method_handler(unary)
        if details.method.endswith("Put"):
            return grpc.unary_unary_rpc_method_handler(put)
        return grpc.stream_stream_rpc_method_handler(stream)


async def _serve() -> None:
    server = aio.server()
    server.add_generic_rpc_handlers((_Echo(),))  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
