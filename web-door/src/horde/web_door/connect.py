"""Connect and gRPC-Web: every RPC that asks once is served at its own name, `/horde.api.mesh.v1.MeshService/GetMesh`.

By the library `connectrpc`, over the messages of `google.protobuf`. JSON is read and written as under `/v1`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message
from protobuf.wkt import Any as Detail
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Message as Asgi
from starlette.types import Receive, Scope, Send

from horde.services.errors import Internal, ResourceExhausted, ServiceError
from horde.services.status import code_of, to_status
from horde.services.telemetry import get_logger
from horde.web_door.caller import Metadata
from horde.web_door.contract import Rpc, rpcs
from horde.web_door.core.refusals import Refusal
from horde.web_door.door import STORAGE, Door
from horde.web_door.room import read_body
from horde.web_door.v1.calling import MAX_JSON_BYTES
from horde.web_door.v1.problems import HttpProblem, refused, refused_by_http
from horde.web_door.v1.reading import json_of, object_of
from horde.web_door.v1.wire import text_of

log = get_logger(__name__)

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""What the contract says."""
ENVELOPE_BYTES: Final = 5
GRPC: Final = ("application/grpc", "application/grpc+")
"""Needs trailers, which HTTP/1.1 here has not: the gateway's own door speaks it."""

_caller: ContextVar[tuple[Metadata, str]] = ContextVar("caller")
"""Credentials and whereabouts of the request being served, and whom its bounds count."""


class _Json(Codec[Any, Any]):
    """JSON as under `/v1`: the contract's names, and nothing that is not known."""

    def __init__(self) -> None:
        self._rpcs = {rpc.request.DESCRIPTOR.full_name: rpc for rpc in rpcs()}

    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return text_of(message).encode()

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        try:
            if len(data) > MAX_JSON_BYTES:
                # As under `/v1`, and after it was decompressed: whoever has more to say says it in the binary form.
                raise ResourceExhausted(f"A message in JSON is at most {MAX_JSON_BYTES} bytes large.")
            return object_of(self._rpcs[message_class.DESCRIPTOR.full_name], json_of(bytes(data) or b"{}"))
        except ServiceError as error:
            raise wire_error(error) from None


class _Services(ConnectASGIApplication[Door]):
    """All services of the contract."""

    @property
    def path(self) -> str:
        return "/"


class Connect:
    """The application behind every path of `connect_routes`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._app: Any = _Services(
            service=door,
            endpoints=_endpoints,
            read_max_bytes=MAX_MESSAGE_BYTES,
            codecs=[google_protobuf_binary_codec(), _Json()],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        kind = request.headers.get("content-type", "")
        try:
            if kind == GRPC[0] or kind.startswith(GRPC[1]):
                raise HttpProblem(415, "gRPC itself is spoken at the gateway.")
            address = self._door.address(request)
            with self._door.room.tab(address) as tab:
                # All that is asked here is one message: it is read in bounds before anything is made of it.
                body = await read_body(request, tab, MAX_MESSAGE_BYTES + ENVELOPE_BYTES)
                token = _caller.set((self._door.metadata(request), address))
                try:
                    await self._app(scope, _read(body, receive), send)
                finally:
                    _caller.reset(token)
        except HttpProblem as problem:
            await refused_by_http(problem)(scope, receive, send)
        except Refusal as refusal:
            await refused_by_http(HttpProblem(refusal.status, refusal.message))(scope, receive, send)
        except ServiceError as error:
            await refused(error)(scope, receive, send)


def connect_routes(door: Door, middleware: Sequence[Middleware]) -> list[BaseRoute]:
    """A path for each RPC that sends one message."""
    app = Connect(door)
    return [Route(rpc.path, app, middleware=middleware) for rpc in _served()]


def wire_error(error: ServiceError) -> ConnectError:
    """An error with all that a status of the contract carries."""
    status = to_status(error)
    details = [ErrorDetail(Detail(type_url=detail.type_url, value=detail.value)) for detail in status.details]
    name = code_of(type(error)).name
    return ConnectError(Code["CANCELED" if name == "CANCELLED" else name], error.message, details)


def _served() -> list[Rpc]:
    return [rpc for rpc in rpcs() if not rpc.descriptor.client_streaming]


def _endpoints(door: Door) -> Mapping[str, Any]:
    return {rpc.path: _endpoint(door, rpc) for rpc in _served()}


def _endpoint(door: Door, rpc: Rpc) -> Any:
    streams = rpc.descriptor.server_streaming
    info: MethodInfo[Any, Any] = MethodInfo(
        name=rpc.descriptor.name,
        service_name=rpc.service.full_name,
        input=rpc.request,
        output=rpc.response,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if streams else StreamType.UNARY,
    )

    async def answer(message: Message, context: RequestContext[Any, Any]) -> Message:
        metadata, _ = _caller.get()
        try:
            return await door.answer(rpc, message, _shown(rpc, metadata))
        except Exception as error:  # noqa: BLE001 - the library would tell its words to whoever calls
            raise _told(rpc, error) from None

    async def answers(message: Message, context: RequestContext[Any, Any]) -> AsyncGenerator[Message]:
        metadata, address = _caller.get()
        stream = door.answers(rpc, message, _shown(rpc, metadata), address)
        try:
            async for item in stream:
                yield item
        except Exception as error:  # noqa: BLE001 - the library would tell its words to whoever calls
            raise _told(rpc, error) from None
        finally:
            await stream.aclose()

    return Endpoint.server_stream(method=info, function=answers) if streams else Endpoint.unary(info, answer)


def _shown(rpc: Rpc, metadata: Metadata) -> Metadata:
    """What goes with a call: whoever moves bytes is shown a ticket, and no key."""
    return tuple((name, value) for name, value in metadata if rpc.package != STORAGE or name != "authorization")


def _told(rpc: Rpc, error: Exception) -> ConnectError:
    if not isinstance(error, ServiceError):
        log.error("call failed", method=rpc.path, exc_info=error)
        error = Internal("Something is broken here.")
    return wire_error(error)


def _read(body: bytes, receive: Receive) -> Receive:
    """The same request, whose body is all here."""
    has_answered = False

    async def next_part() -> Asgi:
        nonlocal has_answered
        if has_answered:
            return await receive()
        has_answered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_part
