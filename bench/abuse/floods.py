"""Attacks by those who call and stay, and want nothing: each a function that goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import uuid

from attacker import NOBODY_HAS, Attacker, Metadata, anonymous, create, new_stubs
from grpc import aio

from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.mesh.v1 import mesh_service_pb2 as mesh
from horde.api.worker.v1 import worker_service_pb2
from horde.clients.specs import generation_spec


async def idle_sessions(attacker: Attacker) -> None:
    """Eight accounts with 256 sessions each that do nothing."""

    async def one(who: Metadata, name: str) -> None:
        while True:
            stream = attacker.workers.Attach(metadata=who)
            try:
                hello = worker_service_pb2.Hello(worker_name=name)
                await stream.write(worker_service_pb2.AttachRequest(hello=hello))
                while await stream.read() is not aio.EOF:
                    pass
            except aio.AioRpcError as error:
                attacker.noted(error)
            await asyncio.sleep(5)

    owners = [await attacker.register() for _ in range(8)]
    await asyncio.gather(*(one(who, f"rig-{number}") for who in owners for number in range(256)))


async def idle_watches(attacker: Attacker) -> None:
    """Five free tokens, each with a connection of its own, that watch all they can get and never read."""
    streams = []

    async def one() -> None:
        channel, _, generations, _, _ = new_stubs(attacker.target)
        who = anonymous()
        while channel:
            spec = generation_spec("x", model=NOBODY_HAS, width=64, height=64, steps=1)
            spec.wait_for_model = True
            if generation_id := await create(attacker, who, spec, generations):
                for _ in range(30):
                    request = generation.WatchGenerationRequest(generation_id=generation_id)
                    streams.append(generations.WatchGeneration(request, metadata=who))
            await asyncio.sleep(0.5)

    async def counted() -> None:
        while True:
            await asyncio.sleep(1)
            attacker.answers["watching"] = sum(not stream.done() for stream in streams)

    await asyncio.gather(counted(), *(one() for _ in range(5)))


async def tiny_calls(attacker: Attacker) -> None:
    """Tiny calls with fresh tokens, 64 at once, on eight connections."""

    stubs = [new_stubs(attacker.target) for _ in range(8)]

    async def one(number: int) -> None:
        _, _, generations, _, _ = stubs[number % len(stubs)]
        request = generation.GetGenerationRequest(generation_id=str(uuid.UUID(int=number)))
        while True:
            try:
                await generations.GetGeneration(request, metadata=anonymous())
            except aio.AioRpcError as error:
                attacker.noted(error)

    await asyncio.gather(*(one(number) for number in range(64)))


async def rapid_resets(attacker: Attacker) -> None:
    """Calls that are broken off as soon as they are begun."""

    async def one() -> None:
        channel, _, _, _, meshes = new_stubs(attacker.target)
        while channel:
            calls = [meshes.GetMesh(mesh.GetMeshRequest()) for _ in range(32)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            attacker.answers["broken off"] += len(calls)
            await asyncio.sleep(0.002)

    await asyncio.gather(*(one() for _ in range(4)))
