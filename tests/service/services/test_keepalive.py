"""A link that dies without a word, as between machines: nobody says RST, the bytes just come no more."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.wrappers_pb2 import StringValue
from tests.service.services.conftest import SERVICE, EchoServicer, add_echo

from horde.services.channel import dial
from horde.services.errors import Unavailable
from horde.services.identity import Credentials
from horde.services.keepalive import KEEPALIVE, LED, Keepalive
from horde.services.leadership import IDLE_SECONDS
from horde.services.server import Registration
from horde.testkit.loopback import loopback
from horde.testkit.waiting import HANG_SECONDS

ENVOY = Path(__file__).parents[3] / "deploy" / "envoy" / "envoy.yaml"
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

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        pumps.add(asyncio.create_task(proxy.pump(reader, back)))
        pumps.add(asyncio.create_task(proxy.pump(there, writer)))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*pumps, return_exceptions=True)
        for each in (writer, back):
            each.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        proxy.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        for pump in pumps:
            pump.cancel()


def test_a_dead_link_is_noticed_within_20_seconds() -> None:
    assert KEEPALIVE.after_seconds + KEEPALIVE.answer_seconds <= 20
    options = dict(KEEPALIVE.options())
    # The longer of the two counts.
    assert options["grpc.keepalive_timeout_ms"] == options["grpc.http2.ping_timeout_ms"]
    # Whoever pings as often as we do is never told that it pings too much.
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < options["grpc.keepalive_time_ms"]


def test_a_leader_that_stands_still_is_left_by_the_time_that_the_next_one_leads() -> None:
    assert LED.after_seconds + LED.answer_seconds <= IDLE_SECONDS


def test_envoy_leaves_a_leader_that_stands_still_as_soon_and_asks_nobody_more_often_than_is_taken() -> None:
    clusters = yaml.safe_load(ENVOY.read_text())["static_resources"]["clusters"]
    assert len(clusters) == 5
    for cluster in clusters:
        (protocol,) = cluster["typed_extension_protocol_options"].values()
        asked = protocol["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]
        ours = LED if cluster["name"] in ("scheduler", "ledger") else KEEPALIVE
        assert asked == {"interval": f"{ours.after_seconds:g}s", "timeout": f"{ours.answer_seconds:g}s"}


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


async def test_an_attempt_to_connect_has_time_for_a_handshake_over_a_satellite() -> None:
    """Whoever is there but far is not given up: four turns of 600 ms are 2.4 s."""
    given_up_after = asyncio.get_running_loop().create_future()

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            await reader.read()
        if not given_up_after.done():
            given_up_after.set_result(time.monotonic() - began)
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    async with server, dial(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", caller=None) as channel:
        channel.get_state(try_to_connect=True)
        assert await asyncio.wait_for(given_up_after, HANG_SECONDS) > 2.4
