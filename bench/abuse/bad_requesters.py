"""Attacks by those who ask for pictures: each a function that goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from attacker import NOBODY_HAS, Attacker, anonymous, create
from grpc import aio
from storage_router import CHUNK

from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.clients.specs import generation_spec


async def silent_inputs(attacker: Attacker) -> None:
    """33 PutInput streams under one anonymous ticket, each 15.75 MiB sent fast, then silent."""
    who = anonymous()
    request = generation.CreateInputTicketRequest(input_id=str(uuid.uuid4()))
    ticket = await attacker.generations.CreateInputTicket(request, metadata=who)
    door: Any = StorageServiceStub(aio.insecure_channel(ticket.address))

    async def one() -> None:
        async def sent() -> Any:
            yield storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket.ticket))
            for offset in range(0, 63 * CHUNK, CHUNK):
                yield storage.PutInputRequest(chunk=storage.Chunk(offset=offset, data=bytes(CHUNK)))
            await asyncio.sleep(600)

        while True:
            try:
                await door.PutInput(sent())
            except aio.AioRpcError as error:
                attacker.noted(error)
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(33)))


async def dear_anonymous_requests(attacker: Attacker) -> None:
    """Three anonymous requests for what nobody has, as dear as can be; then as many more as are taken."""
    while True:
        spec = generation_spec("x", model=NOBODY_HAS, width=4096, height=4096, steps=143, count=20)
        spec.wait_for_model = True
        spec.time_to_live.FromSeconds(86_400)
        await create(attacker, anonymous(), spec)
        await asyncio.sleep(0.05)


async def queue_stuffing(attacker: Attacker) -> None:
    """One account that asks for 20 images of what nobody has, for ever."""
    who = await attacker.register()
    while True:
        spec = generation_spec("x", model=NOBODY_HAS, width=64, height=64, steps=1, count=20)
        spec.wait_for_model = True
        await asyncio.gather(*(create(attacker, who, spec) for _ in range(8)))
