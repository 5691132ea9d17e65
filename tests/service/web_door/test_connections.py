"""Connections are shared by who opens them, and not held open by silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from horde.services.addresses import Networks, parse_networks
from horde.testkit.waiting import until
from horde.web_door.connections import shared_connections

GREETING = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(
    most: int,
    proxies: Networks = (),
    seconds: float = 500.0,
    app: Starlette = GREETING,
    unread_seconds: float = 500.0,
) -> AsyncIterator[int]:
    protocol = shared_connections(most, proxies, seconds, unread_seconds)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", http=protocol, ws="none", log_config=None))
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = listening.sockets[0].getsockname()[1]
    listening.close()
    server.config.port = port
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield port
    finally:
        server.should_exit = True
        await running


async def refused(port: int) -> bool:
    """Whether one more is hung up on."""
    connection = await asyncio.open_connection("127.0.0.1", port)
    try:
        return not await answers(connection)
    finally:
        connection[1].close()


async def answers(connection: Connection) -> bool:
    """Whether the other side answers, or has hung up."""
    reader, writer = connection
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


async def test_an_address_holds_half_of_what_is_left_and_gets_it_back() -> None:
    async with serving(8) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert [await answers(each) for each in held] == [True] * 4
        assert await refused(port)
        held[0][1].close()
        while await refused(port):
            pass
        for _, writer in held:
            writer.close()


async def test_those_who_come_through_a_proxy_are_not_counted_as_one() -> None:
    async with serving(8, parse_networks("127.0.0.0/8")) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        assert [await answers(each) for each in held] == [True] * 8
        assert await refused(port)
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_who_says_nothing_whole_is_hung_up_on(words: bytes) -> None:
    async with serving(8, seconds=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(words)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        writer.close()


async def test_who_begins_another_request_and_does_not_go_on_is_hung_up_on() -> None:
    async with serving(8, seconds=0.5) as port:
        while True:
            reader, writer = connection = await asyncio.open_connection("127.0.0.1", port)
            if await answers(connection):
                break
            writer.close()
        await reader.readuntil(b"ok")
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        writer.close()


async def test_who_reads_nothing_of_what_he_is_sent_is_hung_up_on() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
                await asyncio.sleep(0)
        finally:
            ended.set()

    app = Starlette(routes=[Route("/", lambda _: StreamingResponse(endless()))])
    async with serving(8, app=app, unread_seconds=0.1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await ended.wait()
        writer.close()
