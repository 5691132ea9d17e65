"""A service with one method of each shape, made by hand: the chassis is tested without any contract of the mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from horde.services import deadlines
from horde.services.identity import current_caller
from horde.services.server import Registration

SERVICE = "test.echo.v1.EchoService"


class EchoServicer:
    """Says what it hears; `hook` decides what else happens."""

    def __init__(self) -> None:
        self.hook: Callable[[str], Awaitable[None]] | None = None
        self.callers: list[str] = []
        self.left: list[float | None] = []
        self.wire: list[float | None] = []
        """What gRPC said was left, just before."""
        self.ended = asyncio.Event()

    async def _heard(self, text: str) -> StringValue:
        self.callers.append(current_caller())
        self.left.append(deadlines.remaining())
        if self.hook:
            await self.hook(text)
        return StringValue(value=text)

    async def Say(self, request: StringValue, context: Any) -> StringValue:
        self.wire.append(context.time_remaining())
        return await self._heard(request.value)

    async def Count(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        try:
            for number in range(int(request.value)):
                yield await self._heard(str(number))
        finally:
            self.ended.set()

    async def Join(self, request_iterator: AsyncIterator[StringValue], context: Any) -> StringValue:
        return await self._heard(",".join([request.value async for request in request_iterator]))

    async def Chat(self, request_iterator: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        try:
            async for request in request_iterator:
                yield await self._heard(request.value)
        finally:
            self.ended.set()


def add_echo(servicer: Any, server: Any) -> None:
    codec: Any = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    handlers: dict[str, Any] = {
        "Say": grpc.unary_unary_rpc_method_handler(servicer.Say, **codec),
        "Count": grpc.unary_stream_rpc_method_handler(servicer.Count, **codec),
        "Join": grpc.stream_unary_rpc_method_handler(servicer.Join, **codec),
        "Chat": grpc.stream_stream_rpc_method_handler(servicer.Chat, **codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class EchoStub:
    def __init__(self, channel: Any) -> None:
        codec = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
        self.Say = channel.unary_unary(f"/{SERVICE}/Say", **codec, _registered_method=True)
        self.Count = channel.unary_stream(f"/{SERVICE}/Count", **codec, _registered_method=True)
        self.Join = channel.stream_unary(f"/{SERVICE}/Join", **codec, _registered_method=True)
        self.Chat = channel.stream_stream(f"/{SERVICE}/Chat", **codec, _registered_method=True)


@pytest.fixture
def servicer() -> EchoServicer:
    return EchoServicer()


@pytest.fixture
def echo(servicer: EchoServicer) -> Registration:
    return Registration(add_echo, servicer, SERVICE)


@pytest.fixture
def stub() -> Callable[[Any], EchoStub]:
    return EchoStub
