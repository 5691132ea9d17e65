"""What every form of the contract over HTTP needs: the mesh, who calls, memory and streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from google.protobuf.message import Message
from grpc import aio
from starlette.requests import Request

from horde.api.mesh.v1 import mesh_service_pb2
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.shares import Pot, Taker
from horde.web_door.caller import Caller, Metadata, address_of, metadata_of
from horde.web_door.contract import Rpc
from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.remembering import Remembered
from horde.web_door.room import Room
from horde.web_door.settings import WebDoorSettings

STORAGE: Final = "horde.api.storage.v1"
MESH_SECONDS: Final = 60.0


def _full(kind: str) -> ServiceError:
    return ResourceExhausted("Too many streams are open; end some.")


class Door:
    """Use one for all requests."""

    def __init__(self, settings: WebDoorSettings, mesh: Mesh, clock: Clock, room: Room) -> None:
        self.settings = settings
        self.mesh = mesh
        self.room = room
        self._about: Remembered[mesh_service_pb2.GetMeshResponse] = Remembered(clock, MESH_SECONDS, 1)
        self._streams = Pot(settings.max_streams, {"address": 1.0}, _full)
        self._proxies = settings.proxies()

    def metadata(self, request: Request) -> Metadata:
        """Credentials as they were sent, and from where."""
        return metadata_of(request, self._proxies)

    def whereabouts(self, request: Request) -> Metadata:
        """From where, for what asks for no credentials but a ticket."""
        return Caller(self.address(request)).whereabouts()

    async def storage_address(self) -> str:
        """Where tickets are good."""

        async def ask() -> mesh_service_pb2.GetMeshResponse:
            answer: mesh_service_pb2.GetMeshResponse = await self.mesh.mesh.GetMesh(mesh_service_pb2.GetMeshRequest())
            return answer

        return (await self._about.get("", ask)).storage_address

    def address(self, request: Request) -> str:
        """Whom a request's bounds count."""
        return address_of(request, self._proxies)

    async def answer(self, rpc: Rpc, message: Message, metadata: Metadata) -> Message:
        """What the mesh answers a call with."""
        channel = await self._store() if rpc.package == STORAGE else self.mesh.gateway
        method: Any = channel.unary_unary(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        answer: Message = await method(message, metadata=metadata)
        return answer

    async def answers(self, rpc: Rpc, message: Message, metadata: Metadata, address: str) -> AsyncGenerator[Message]:
        """What the mesh answers a call with, one by one. It is over when this is closed."""
        channel = await self._store() if rpc.package == STORAGE else self.mesh.streams
        method: Any = channel.unary_stream(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        with self._stream(address):
            stream = method(message, metadata=metadata)
            try:
                while (answer := await stream.read()) is not aio.EOF:
                    yield answer
            finally:
                stream.cancel()

    @contextmanager
    def _stream(self, address: str) -> Iterator[None]:
        taker = Taker((("address", address),))
        self._streams.take(taker)
        try:
            yield
        finally:
            self._streams.give_back(taker)

    async def _store(self) -> aio.Channel:
        return await self.mesh.store(await self.storage_address())
