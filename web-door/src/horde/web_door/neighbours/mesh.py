"""The mesh as the door sees it: stubs of the public services, called with a caller's own credentials and address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from grpc import aio

from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.api.statistics.v1.statistics_service_pb2_grpc import StatisticsServiceStub
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.services.channel import dial
from horde.services.tls import TlsFiles

MAX_STORES = 16
"""Addresses of storage routers that are kept dialled: there are few, and a mesh names them."""


class Mesh:
    """Use `mesh`."""

    def __init__(self, gateway: aio.Channel, streams: aio.Channel, stores: _Stores) -> None:
        # Stubs are typed for one kind of channel and used with another.
        channel: Any = gateway
        self.accounts: Any = AccountServiceStub(channel)
        self.generations: Any = GenerationServiceStub(channel)
        self.mesh: Any = MeshServiceStub(channel)
        self.models: Any = ModelServiceStub(channel)
        self.statistics: Any = StatisticsServiceStub(channel)
        self.workers: Any = WorkerServiceStub(channel)
        self.sessions: Any = WorkerServiceStub(streams)  # type: ignore[arg-type, unused-ignore]
        self.gateway = gateway
        self.streams = streams
        self._stores = stores

    async def store(self, address: str) -> aio.Channel:
        """The channel to the storage router at the address that the mesh named."""
        return await self._stores.channel(address)

    async def storage(self, address: str) -> Any:
        """The storage service at the address that the mesh named."""
        return StorageServiceStub(await self._stores.channel(address))  # type: ignore[arg-type, unused-ignore]


class _Stores:
    """Channels to storage routers, dialled when they are first needed."""

    def __init__(self, stack: AsyncExitStack, tls: TlsFiles | None, plaintext: bool) -> None:
        self._stack = stack
        self._tls = tls
        self._plaintext = plaintext
        self._channels: dict[str, aio.Channel] = {}

    async def channel(self, address: str) -> aio.Channel:
        """Raises ValueError for an address that may not be dialled so, or for one too many."""
        if address not in self._channels:
            if len(self._channels) >= MAX_STORES:
                raise ValueError("the mesh names more storage routers than there can be")
            dialled = dial(address, caller=None, tls=self._tls, plaintext=self._plaintext, neighbour="storage router")
            self._channels[address] = await self._stack.enter_async_context(dialled)
        return self._channels[address]


@asynccontextmanager
async def mesh(gateway: str, *, tls: TlsFiles | None = None, plaintext: bool = False) -> AsyncIterator[Mesh]:
    """The mesh at a gateway, for as long as the block."""
    async with AsyncExitStack() as stack:

        async def channel(*, retry: bool) -> aio.Channel:
            dialled = dial(gateway, caller=None, tls=tls, plaintext=plaintext, retry=retry, neighbour="gateway")
            return await stack.enter_async_context(dialled)

        yield Mesh(await channel(retry=True), await channel(retry=False), _Stores(stack, tls, plaintext))
