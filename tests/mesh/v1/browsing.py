"""Calling a door as generated clients in browsers do, by the library's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from connectrpc.client import ConnectClient
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType

from horde.web_door.contract import rpcs

RPCS = {rpc.descriptor.name: rpc for rpc in rpcs()}


class Browser:
    """A client of one protocol."""

    def __init__(self, client: ConnectClient, headers: Mapping[str, str]) -> None:
        self._client = client
        self._headers = headers

    async def call(self, name: str, request: Any) -> Any:
        return await self._client.execute_unary(request=request, method=_method(name), headers=self._headers)

    def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        return self._client.execute_server_stream(request=request, method=_method(name), headers=self._headers)


def _method(name: str) -> MethodInfo[Any, Any]:
    rpc = RPCS[name]
    streams = rpc.descriptor.server_streaming
    return MethodInfo(
        name=name,
        service_name=rpc.service.full_name,
        input=rpc.request,
        output=rpc.response,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if streams else StreamType.UNARY,
    )


@asynccontextmanager
async def browsing(base: str, protocol: ProtocolType, credential: str) -> AsyncIterator[Browser]:
    """A client of one protocol, for somebody."""
    async with ConnectClient(base, codec=google_protobuf_binary_codec(), protocol=protocol) as client:
        yield Browser(client, {"authorization": credential})
