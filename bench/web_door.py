"""What the web door costs beside a native call: `make bench-web-door`. Ratios within one run, on a quiet machine.

One generation that is done is asked for again and again by so many callers at once, with its pass: by gRPC, by `/v1`
in JSON, by Connect and gRPC-Web, by AI Horde's `status` and by its `check` (which is answered from memory for a
second); and, where there is an Envoy, through it by JSON and gRPC-Web. Then idle workers pop, and what the mesh does
meanwhile is measured beside what it does when nobody calls.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from mesh_meter import processor_seconds

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.cli.local.mesh import LocalMesh, WorkerPlan, free_ports, local_mesh
from horde.cli.local.roles import SERVICES, WEB_DOORS, Role
from horde.clients.credentials import AnonymousToken
from horde.clients.specs import generation_spec
from horde.services.channel import dial
from horde.testkit.envoy import ENVOY, envoy_of_http
from horde.testkit.waiting import ticks

LIMITS = ("ACCOUNT_CALLS", "ADDRESS_CALLS", "ANONYMOUS_CALLS", "ADDRESS_IMAGES", "ANONYMOUS_IMAGES", "ADDRESS_FAILURES")
EXTRA = {
    **{role: {"LOG_LEVEL": "warning"} for role in Role},
    Role.GATEWAY: {"LOG_LEVEL": "warning", **{f"LIMIT_{name}": "none" for name in LIMITS}},
}
Call = Callable[[], Awaitable[Any]]


def spent(mesh: LocalMesh, envoy: int | None = None) -> dict[str, float]:
    """CPU seconds of each process so far."""
    pids = {name: process.pid for name, process in mesh.processes.items()}
    return dict(processor_seconds(pids | ({"envoy": envoy} if envoy else {})))


async def measured(
    mesh: LocalMesh, title: str, call: Call, seconds: float, callers: int, envoy: int | None = None
) -> tuple[float, float]:
    """Call as often as it goes; print and give the calls a second, and what each costs all processes in CPU-ms."""
    before, began, calls = spent(mesh, envoy), time.perf_counter(), 0
    ends = began + seconds

    async def caller() -> None:
        nonlocal calls
        while time.perf_counter() < ends:
            await call()
            calls += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = calls / (time.perf_counter() - began)
    costs = {name: (after - before[name]) / calls * 1000 for name, after in spent(mesh, envoy).items()}
    shown = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items() if cost >= 0.01)
    print(f"{title:<34}{rate:>8.0f}/s   CPU-ms a call: {sum(costs.values()):.2f} ({shown})", flush=True)
    return rate, sum(costs.values())


@contextmanager
def envoy_before(mesh: LocalMesh, folder: Path) -> Iterator[tuple[str, int | None]]:
    """Envoy as the door of HTTP, where there is one: its address and its process."""
    if not ENVOY.exists():
        yield "", None
        return
    ports, port = mesh.layout.ports, free_ports()[Role.WEB_DOOR]
    with envoy_of_http(folder, port, gateway=ports[Role.GATEWAY], storage=ports[Role.STORAGE_ROUTER]) as process:
        for _ in ticks():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield f"http://127.0.0.1:{port}", process.pid


async def main(seconds: float, callers: int, workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        async with local_mesh(Path(folder), extra=EXTRA, services=(*SERVICES, *WEB_DOORS)) as mesh:
            await mesh.start_worker(WorkerPlan("anna", "scripted"))
            async with (
                dial(mesh.gateway, caller=None) as channel,
                httpx2.AsyncClient(base_url=f"{mesh.web}/api/v2", limits=httpx2.Limits(max_connections=None)) as http,
            ):
                stub: Any = GenerationServiceStub(channel)  # type: ignore[arg-type, unused-ignore]
                request = pb.CreateGenerationRequest(
                    request_id=str(uuid.uuid4()), spec=generation_spec("a fox", width=64, height=64, steps=4)
                )
                asked = await stub.CreateGeneration(
                    request, metadata=[("authorization", AnonymousToken("0" * 32).authorization)]
                )
                shown = [("authorization", f"Pass {asked.pass_id}")]
                while not (await stub.GetGeneration(pb.GetGenerationRequest(), metadata=shown)).generation.finished:
                    await asyncio.sleep(0.1)

                native, natively = await measured(
                    mesh,
                    "GetGeneration, gRPC",
                    lambda: stub.GetGeneration(pb.GetGenerationRequest(), metadata=shown),
                    seconds,
                    callers,
                )
                pass_id = asked.pass_id
                v1 = f"{mesh.web}/v1/generations/{asked.generation.generation_id}"
                named = f"{mesh.web}/horde.api.generation.v1.GenerationService/GetGeneration"
                bearer = {"authorization": f"Pass {pass_id}"}
                binary = {**bearer, "content-type": "application/proto"}
                web = {**bearer, "content-type": "application/grpc-web+proto"}
                calls: dict[str, Call] = {
                    "GET /v1/generations/…, JSON": partial(http.get, v1, headers=bearer),
                    "GetGeneration, Connect": partial(http.post, named, headers=binary, content=b""),
                    "GetGeneration, gRPC-Web": partial(http.post, named, headers=web, content=bytes(5)),
                    "GET generate/status": partial(http.get, f"/generate/status/{pass_id}"),
                    "GET generate/check": partial(http.get, f"/generate/check/{pass_id}"),
                }
                with envoy_before(mesh, Path(folder)) as (base, envoy):
                    if base:
                        through, there = v1.replace(mesh.web, base), named.replace(mesh.web, base)
                        calls["Envoy: GET /v1/generations/…, JSON"] = partial(http.get, through, headers=bearer)
                        calls["Envoy: GetGeneration, gRPC-Web"] = partial(
                            http.post, there, headers=web, content=bytes(5)
                        )
                    for title, call in calls.items():
                        answer = await call()
                        assert answer.status_code == 200, answer.text
                        rate, cost = await measured(mesh, title, call, seconds, callers, envoy)
                        print(f"{'':<34}{rate / native:>8.2f}   of the native rate, {cost / natively:.2f} of its CPU")
                await idle(mesh, http, seconds, workers)


async def idle(mesh: LocalMesh, http: httpx2.AsyncClient, seconds: float, workers: int) -> None:
    """Workers that pop once a second and get nothing, beside a mesh that nobody calls."""
    async with mesh.client(credential=AnonymousToken("0" * 32)) as nobody:
        key = (await nobody.accounts.create("owner")).api_key

    async def pop(number: int) -> None:
        body = {"name": f"w{number}", "models": ["nobody asks for it"], "max_pixels": 1_048_576}
        answer = await http.post("/generate/pop", json=body, headers={"apikey": key})
        answer.raise_for_status()

    for number in range(workers):
        await pop(number)
    for popping in (False, True):
        before, began = spent(mesh), time.perf_counter()
        while time.perf_counter() < began + seconds:
            await asyncio.sleep(1)
            if popping:
                await asyncio.gather(*(pop(number) for number in range(workers)))
        passed = time.perf_counter() - began
        loads = {name: (after - before[name]) / passed * 100 for name, after in spent(mesh).items()}
        title = f"{workers} workers {'pop once a second' if popping else 'attached, silent'}"
        print(f"{title:<44}% of a core: {', '.join(f'{name} {load:.1f}' for name, load in loads.items())}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--workers", type=int, default=16)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.seconds, chosen.callers, chosen.workers))
