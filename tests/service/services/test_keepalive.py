"""A link that dies without a word, as between machines: nobody says RST, the bytes just come no more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from tests.service.services.conftest import SERVICE, EchoServicer, add_echo

from horde.services.channel import dial
from horde.services.errors import Unavailable
from horde.services.identity import Credentials
from horde.services.keepalive import KEEPALIVE, Keepalive
from horde.services.server import Registration
from horde.testkit.loopback import loopback

QUICK = Keepalive(after_seconds=0.5, answer_seconds=0.5)
SLOW = Keepalive(after_seconds=0.5, answer_seconds=60)
"""How it was before: gRPC asked soon, and waited for its default of a minute."""


class Proxy:
    """Passes bytes on in both directions until it falls silent, and hangs up on nobody."""

    def __init__(self) -> None:
        self.silent = asyncio.Event()
        self.target = ""

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.silent.is_set():
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxy_to(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    host, _, port = target.rpartition(":")
    pumps: set[asyncio.Task[None]] = set()
    connections: set[asyncio.Task[Any] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        async with AsyncExitStack() as writers:
            writers.push_async_callback(closed, writer)
            there, back = await asyncio.open_connection(host, int(port))
            writers.push_async_callback(closed, back)
            both = [asyncio.create_task(work) for work in (proxy.pump(reader, back), proxy.pump(there, writer))]
            pumps.update(both)
            await asyncio.wait(both)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        proxy.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        server.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*filter(None, connections), return_exceptions=True)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close it, and wait until nothing of it is left."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def test_a_dead_link_is_noticed_within_20_seconds() -> None:
    assert KEEPALIVE.after_seconds + KEEPALIVE.answer_seconds <= 20
    options = dict(KEEPALIVE.options())
    # The longer of the two counts.
    assert options["grpc.keepalive_timeout_ms"] == options["grpc.http2.ping_timeout_ms"]
    # Whoever pings as often as we do is never told that it pings too much.
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < options["grpc.keepalive_time_ms"]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_stream_over_a_dead_link_ends_long_before_grpc_would_end_it(side: str, stub: Any) -> None:
    """Two links fall silent at once. Where we set the times it is noticed while it is not where gRPC's are left."""
    ended = {"ours": asyncio.Event(), "grpc's": asyncio.Event()}
    async with AsyncExitStack() as stack:
        proxies = []
        for name, keepalive in (("grpc's", SLOW), ("ours", QUICK)):
            servicer = EchoServicer()
            served = loopback(
                [Registration(add_echo, servicer, SERVICE)],
                keepalive=keepalive if side == "server" else SLOW,
                grace=timedelta(0),
            )
            wire = await stack.enter_async_context(served)
            proxy = await stack.enter_async_context(proxy_to(wire.target))
            channel = await stack.enter_async_context(
                dial(
                    proxy.target,
                    caller=Credentials.from_key("tester", wire.key),
                    retry=False,
                    keepalive=keepalive if side == "client" else SLOW,
                )
            )
            chat = stub(channel).Chat()
            await chat.write(StringValue(value=name))
            assert (await chat.read()).value == name
            proxies.append(proxy)
            if side == "server":
                servicer.ended = ended[name]
            else:
                reading = asyncio.create_task(_until_unavailable(chat, ended[name]))
                stack.callback(reading.cancel)
        for proxy in proxies:
            proxy.silent.set()
        await ended["ours"].wait()
        assert not ended["grpc's"].is_set()


async def _until_unavailable(chat: Any, ended: asyncio.Event) -> None:
    with pytest.raises(Unavailable):
        await chat.read()
    ended.set()
