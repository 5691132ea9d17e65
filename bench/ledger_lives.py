"""Whole lives of jobs through the ledger's gRPC door: hold, then settle with tax and an escrow split.

The ledger is a process of its own, as in the mesh, and its callers send batches, as the scheduler does. Beside it, in
the same run, how often a second the same client gets a bare gRPC echo of small messages, one call each.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from horde.api.job.v1 import job_pb2 as job
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.ledger.core import identifiers
from horde.services.channel import dial
from horde.services.identity import Credentials, create_key_file
from horde.testkit.ledger import some_id
from horde.testkit.postgres import ThrowawayPostgres

CALLERS = 8
BATCH = 64
"""Events in one call."""
PAYERS = [some_id(f"payer {index}") for index in range(500)]
OWNERS = [some_id(f"owner {index}") for index in range(500)]
WORKERS = [some_id(f"worker {index}") for index in range(500)]
ECHO_CALLERS = 64
ECHO_S = 3.0
_ECHO = "/bench.Echo/Echo"


def life(chance: random.Random) -> tuple[api.Event, api.Event]:
    """The hold and the settlement of one job."""
    generation_id = str(uuid.UUID(int=chance.getrandbits(128)))
    job_id = identifiers.derived(generation_id, "0")
    hold_id = identifiers.hold_id(job_id)
    parts = job.PriceParts(table_version="2026-11", price_mkudos=10_830, tax_mkudos=3_000, total_mkudos=13_830)
    payer, who = chance.choice(PAYERS), chance.randrange(len(OWNERS))
    hold = api.Hold(hold_id=hold_id, job_id=job_id, parts=parts)
    place = api.PlaceHolds(generation_id=generation_id, payer=job.Requester(account_id=payer), holds=[hold])
    settle = api.Settle(
        hold_id=hold_id,
        job_id=job_id,
        ending=job.JOB_ENDING_DONE,
        owner_account_id=OWNERS[who],
        earned_mkudos=10_830,
        tax_mkudos=3_000,
        worker_id=WORKERS[who],
        model="paintbox",
    )
    return (
        api.Event(event_id=identifiers.holds_event_id(generation_id), place_holds=place),
        api.Event(event_id=identifiers.settle_event_id(job_id), settle=settle),
    )


async def lives_rate(target: str, key_file: Path, count: int, seed: int) -> float:
    """Job lives per second, from the first call to the last answer."""
    chance = random.Random(seed)
    made = [life(chance) for _ in range(count)]
    batches = [made[start : start + BATCH] for start in range(0, count, BATCH)]
    holds = [api.ApplyRequest(events=[hold for hold, _ in batch]) for batch in batches]
    settles = [api.ApplyRequest(events=[settle for _, settle in batch]) for batch in batches]
    turns = list(range(len(batches)))[::-1]
    async with dial(target, caller=Credentials.from_key_file("scheduler", key_file), timeout=None) as channel:
        stub = LedgerServiceStub(channel)

        async def call() -> None:
            while turns:
                turn = turns.pop()
                for request in (holds[turn], settles[turn]):
                    answer = await stub.Apply(request)
                    assert all(outcome.HasField("entry") for outcome in answer.outcomes), answer.outcomes[0]

        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        return count / (time.perf_counter() - began)


async def fund(target: str, key_file: Path) -> None:
    async with dial(target, caller=Credentials.from_key_file("gateway", key_file)) as channel:
        stub = LedgerServiceStub(channel)
        awards = [
            api.Event(
                event_id=some_id(f"fund {payer}"),
                award=api.Award(account_id=payer, amount_mkudos=10**11, awarded_by="bench", reason="bench"),
            )
            for payer in PAYERS
        ]
        for start in range(0, len(awards), 256):
            await stub.Apply(api.ApplyRequest(events=awards[start : start + 256]))


async def echo_server() -> None:
    async def echo(request: bytes, context: object) -> bytes:
        return request

    class Echo(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
            return grpc.unary_unary_rpc_method_handler(echo)

    server = aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


async def echo_rate(port: int) -> float:
    """Bare unary calls per second, 64 at a time."""
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_ECHO)
        ends, done, payload = time.perf_counter() + ECHO_S, 0, b"x" * 200

        async def loop() -> None:
            nonlocal done
            while time.perf_counter() < ends:
                await call(payload)
                done += 1

        await asyncio.gather(*(loop() for _ in range(ECHO_CALLERS)))
    return done / ECHO_S


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lives_bench(server: ThrowawayPostgres, runs: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        for name, url in (("PostgreSQL", server.database()), ("SQLite", "")):
            _bench(name, url, Path(folder), runs if url else min(runs, 3), count)


def _bench(name: str, url: str, folder: Path, runs: int, count: int) -> None:
    key_file = folder / "key"
    create_key_file(key_file)
    environment = {
        **os.environ,
        "HORDE_LEDGER_KEY_FILE": str(key_file),
        "HORDE_LEDGER_DATABASE_URL": url,
        "HORDE_LEDGER_STATE_DIR": str(folder / "state"),
        "HORDE_LEDGER_LISTEN": "127.0.0.1:0",
        "HORDE_LEDGER_LOG_FORMAT": "json",
    }
    echo = subprocess.Popen([sys.executable, __file__, "echo"], stdout=subprocess.PIPE, text=True)
    ledger = subprocess.Popen(
        [sys.executable, "-m", "horde.ledger"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert echo.stdout is not None
        echo_port = int(echo.stdout.readline())
        target = f"127.0.0.1:{_port(ledger)}"
        asyncio.run(fund(target, key_file))
        rates, echoes, cpu = [], [], []
        for run in range(runs):
            before = cpu_seconds(ledger.pid)
            rates.append(asyncio.run(lives_rate(target, key_file, count, run)))
            cpu.append((cpu_seconds(ledger.pid) - before) / count * 1e6)
            echoes.append(asyncio.run(echo_rate(echo_port)))
            print(
                f"  run {run + 1}: {rates[-1]:,.0f} lives/s, {cpu[-1]:.0f} CPU-us, echo {echoes[-1]:,.0f}/s", flush=True
            )
        rate, echo_rate_ = statistics.median(rates), statistics.median(echoes)
        print(
            f"Job lives through gRPC on {name}, medians: {rate:,.0f}/s (goal 2,000), {rate / echo_rate_:.2f} of "
            f"{echo_rate_:,.0f} bare echoes/s, {statistics.median(cpu):.0f} CPU-us of the ledger's process for each",
            flush=True,
        )
    finally:
        for process in (ledger, echo):
            process.terminate()
            process.communicate(timeout=30)


def _port(ledger: subprocess.Popen[str]) -> int:
    assert ledger.stderr is not None
    for line in ledger.stderr:
        if '"ports"' in line:
            return int(line.partition('"ports": [')[2].partition("]")[0])
    raise RuntimeError("the ledger did not start")


if __name__ == "__main__" and sys.argv[1:] == ["echo"]:
    asyncio.run(echo_server())
