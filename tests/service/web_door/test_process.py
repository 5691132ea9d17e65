"""The web door as a process: it answers though the mesh is away, and ends when it is told to."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx2
from tests.service.processes import MODULES, environment, started

from horde.services import lifecycle


async def test_it_answers_while_the_mesh_is_away(tmp_path: Path) -> None:
    async with started("web-door", environment("web-door", tmp_path)) as process:
        (port,) = json.loads(await process.until('"ports"'))["ports"]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/healthz")).text == "ok\n"
            heartbeat = await client.get("/api/v2/status/heartbeat")
            assert heartbeat.status_code == 200
            assert heartbeat.json()["version"]
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0, process.log


async def test_it_ends_when_its_server_dies(tmp_path: Path) -> None:
    injured = str(Path(__file__).parents[1] / "injured.py")
    async with started("web-door", environment("web-door", tmp_path), injured, MODULES["web-door"], "http") as process:
        await process.until('"ports"')
        process.process.send_signal(signal.SIGUSR1)
        assert await process.ended() == lifecycle.FAILED, process.log
    assert process.lines[-1] == "ended: the loop 'http' has died: Injected()\n"


async def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as taken:
        address = f"127.0.0.1:{taken.sockets[0].getsockname()[1]}"
        async with started("web-door", environment("web-door", tmp_path, LISTEN=address)) as process:
            assert await process.ended() == 2
    assert process.lines[-1] == f"cannot start: {address} is taken, or not an address of this machine\n"
