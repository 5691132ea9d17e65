"""SIGTERM, in every state that a service can be in: it ends, within its bound, and says what it was about."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from tests.service.processes import environment, started

from horde.curation.service import LOCK_KEY as CURATION_LOCK
from horde.ledger.__main__ import LOCK_KEY as LEDGER_LOCK
from horde.scheduler.scheduler import LOCK_KEY as SCHEDULER_LOCK
from horde.webhooks.service import LOCK_KEY as WEBHOOKS_LOCK

SERVICES = ("ledger", "scheduler", "gateway", "storage-router", "curation", "webhooks", "web-door")
TRUTH = {
    "ledger": {"database"},
    "scheduler": {"database"},
    "gateway": {"database"},
    "storage-router": {"bucket"},
    "curation": {"database", "bucket"},
    "webhooks": {"database"},
    "web-door": set(),
}
LOCKS = {"ledger": LEDGER_LOCK, "scheduler": SCHEDULER_LOCK, "curation": CURATION_LOCK, "webhooks": WEBHOOKS_LOCK}


@dataclass
class Mute:
    """A server that takes connections and never says a word."""

    address: str = ""
    called: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def mute() -> AsyncIterator[Mute]:
    server, done = Mute(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.called.set()
        await done.wait()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
        server.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server
        done.set()


@pytest.mark.parametrize("service", SERVICES)
async def test_that_serves_while_its_neighbours_are_away(service: str, tmp_path: Path) -> None:
    async with started(service, environment(service, tmp_path)) as process:
        await process.until('"ports"')
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0, process.log
    assert '"stopped"' in process.log
    # It has said where its truth lies, which may not be where the operator thinks.
    said = [json.loads(line) for line in process.lines if line.startswith("{")]
    places = {line["event"]: line["at"] for line in said if line["event"] in ("database", "bucket")}
    assert set(places) == TRUTH[service]
    assert all(str(tmp_path) in place for place in places.values())


@pytest.mark.parametrize("service", ["ledger", "scheduler", "curation", "webhooks"])
async def test_that_stands_by(service: str, tmp_path: Path, postgresql_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as leader:
        await leader.execute("SELECT pg_advisory_lock(%s)", (LOCKS[service],))
        async with started(service, environment(service, tmp_path, DATABASE_URL=postgresql_url)) as process:
            await process.until("standing by")
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended() == 0, process.log
    assert process.lines[-1] == "stopped while it was starting\n"


@pytest.mark.parametrize("service", ["ledger", "scheduler", "curation", "webhooks"])
async def test_that_waits_for_a_database_that_is_away(service: str, tmp_path: Path) -> None:
    settings = environment(service, tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    async with started(service, settings) as process:
        await process.until("a neighbour fails")
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0, process.log
    assert process.lines[-1] == "stopped while it was starting\n"


@pytest.mark.parametrize("service", ["ledger", "scheduler", "gateway", "curation", "webhooks"])
async def test_that_waits_for_a_database_that_says_nothing(service: str, tmp_path: Path) -> None:
    async with mute() as silent:
        settings = environment(service, tmp_path, DATABASE_URL=f"postgresql://nobody@{silent.address}/nothing")
        async with started(service, settings) as process:
            await silent.called.wait()
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended() == 0, process.log
    assert process.lines[-1] == "stopped while it was starting\n"


async def test_that_waits_for_an_s3_server_that_says_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 40)
    secret.chmod(0o600)
    async with mute() as silent:
        settings = environment(
            "storage-router",
            tmp_path,
            S3_ENDPOINT=silent.address,
            S3_SECURE="false",
            PRIVATE_ACCESS_KEY="a",
            PRIVATE_SECRET_FILE=str(secret),
            SHARED_ACCESS_KEY="b",
            SHARED_SECRET_FILE=str(secret),
        )
        async with started("storage-router", settings) as process:
            await silent.called.wait()
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended() == 0, process.log
    # What may follow is the S3 client's, whose call goes on in a thread of its own until the process is over.
    assert "stopped while it was starting\n" in process.lines


@pytest.mark.parametrize("service", ["ledger", "scheduler", "gateway", "curation", "webhooks"])
async def test_whose_database_falls_silent_while_it_serves(service: str, tmp_path: Path, postgresql_url: str) -> None:
    host = parse_qs(urlsplit(postgresql_url).query)["host"][0]
    silent = asyncio.Event()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if silent.is_set():
                    await asyncio.Event().wait()
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.5432")
        pumps.add(asyncio.create_task(pump(reader, back)))
        pumps.add(asyncio.create_task(pump(there, writer)))

    folder = tmp_path / "s"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_unix_server(connected, f"{folder}/.s.PGSQL.5432")
        await stack.enter_async_context(server)
        settings = environment(service, tmp_path, DATABASE_URL=postgresql_url.replace(host, str(folder)))
        process = await stack.enter_async_context(started(service, settings))
        await process.until('"ports"')
        silent.set()
        process.process.send_signal(signal.SIGTERM)
        # Politely, or by force where a thread waits for the database: but it ends.
        assert await process.ended() in (0, 1), process.log
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@pytest.mark.parametrize("gateway", ["away", "silent"])
async def test_a_worker_whose_gateway_is_not_there(gateway: str, tmp_path: Path) -> None:
    async with mute() as silent:
        settings = environment("worker", tmp_path, **({"GATEWAY": silent.address} if gateway == "silent" else {}))
        async with started("worker", settings) as process:
            if gateway == "away":
                await process.until("a neighbour fails")
            else:
                await silent.called.wait()
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended() == 0, process.log
    assert "this run" in process.log
