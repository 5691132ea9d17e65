"""The yardstick: what a call costs here before any service does anything.

`python bench/wire.py` prints calls (or messages) a second, and CPU microseconds for both ends together, of an echo over
loopback within one process: gRPC as it comes, and with the chassis on both ends. The two take turns, and the best of
several rounds counts, because other work on the machine only ever makes it slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue
from grpc import aio

from horde.services.server import Registration
from horde.testkit.loopback import loopback

SERVICE = "bench.echo.v1.EchoService"
MESSAGE = BytesValue(value=b"x" * 200)
AT_ONCE = 32


class Servicer:
    async def Say(self, request: BytesValue, context: Any) -> BytesValue:
        return request

    async def Chat(self, requests: AsyncIterator[BytesValue], context: Any) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request


def add(servicer: Any, server: Any) -> None:
    codec: Any = {"request_deserializer": BytesValue.FromString, "response_serializer": BytesValue.SerializeToString}
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(servicer.Say, **codec),
        "Chat": grpc.stream_stream_rpc_method_handler(servicer.Chat, **codec),
    }
    server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    def __init__(self, channel: Any) -> None:
        codec = {"request_serializer": BytesValue.SerializeToString, "response_deserializer": BytesValue.FromString}
        self.say = channel.unary_unary(f"/{SERVICE}/Say", **codec, _registered_method=True)
        self.chat = channel.stream_stream(f"/{SERVICE}/Chat", **codec, _registered_method=True)


async def unary(stub: Stub, count: int) -> None:
    async def some() -> None:
        for _ in range(count // AT_ONCE):
            await stub.say(MESSAGE)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def stream(stub: Stub, count: int) -> None:
    chat = stub.chat()
    for _ in range(count):
        await chat.write(MESSAGE)
        await chat.read()
    await chat.done_writing()
    await chat.read()


async def measured(work: Callable[[Stub, int], Awaitable[None]], stub: Stub, count: int) -> tuple[float, float]:
    """Per second, and CPU microseconds each."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work(stub, count)
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6


async def bench(count: int, rounds: int) -> dict[str, dict[str, float]]:
    raw = aio.server()
    add(Servicer(), raw)
    port = raw.add_insecure_port("127.0.0.1:0")
    await raw.start()
    results: dict[str, dict[str, float]] = {}
    async with (
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        loopback([Registration(add, Servicer(), SERVICE)]) as wire,
    ):
        stubs = {"gRPC": Stub(channel), "chassis": Stub(wire.channel)}
        for _ in range(rounds + 1):
            for work in (unary, stream):
                for name, stub in stubs.items():
                    rate, cpu = await measured(work, stub, count)
                    best = results.setdefault(f"{work.__name__} {name}", {"per_second": rate, "cpu_us": cpu})
                    best["per_second"] = max(best["per_second"], rate)
                    best["cpu_us"] = min(best["cpu_us"], cpu)
    await raw.stop(None)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = asyncio.run(bench(arguments.count, arguments.rounds))
    if arguments.json:
        print(json.dumps(results))
        return
    for name, best in results.items():
        print(f"{name:16} {best['per_second']:8.0f}/s {best['cpu_us']:6.0f} CPU-us")


if __name__ == "__main__":
    main()
