"""One call over HTTP: read, passed on to the mesh with the caller's own credentials, and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import Message
from grpc import aio
from starlette.requests import Request
from starlette.responses import Response

from horde.api.mesh.v1 import mesh_service_pb2
from horde.services.clock import Clock
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.shares import Pot, Taker
from horde.services.telemetry import get_logger
from horde.web_door.caller import Caller, Metadata, address_of, metadata_of
from horde.web_door.core.refusals import Refusal
from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.remembering import Remembered
from horde.web_door.room import Room, read_body
from horde.web_door.settings import WebDoorSettings
from horde.web_door.v1 import events
from horde.web_door.v1.problems import HttpProblem, refused, refused_by_http
from horde.web_door.v1.reading import message_of
from horde.web_door.v1.rules import Routes, Rule
from horde.web_door.v1.wire import answered

log = get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
REQUEST_ID: Final = "request_id"
MAX_JSON_BYTES: Final = 128 * 1024
"""Reading JSON into a message takes its time from everybody: a microsecond a byte where somebody means ill."""
MESH_SECONDS: Final = 60.0


def _full(kind: str) -> ServiceError:
    return ResourceExhausted("Too many streams are open; end some.")


class Door:
    """What all that is under `/v1` needs: the mesh, who calls, memory and streams."""

    def __init__(self, settings: WebDoorSettings, mesh: Mesh, clock: Clock, room: Room) -> None:
        self.settings = settings
        self.mesh = mesh
        self.room = room
        self._about: Remembered[mesh_service_pb2.GetMeshResponse] = Remembered(clock, MESH_SECONDS, 1)
        self.streams = Pot(settings.max_streams, {"address": 1.0}, _full)
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


class Calling:
    """Every RPC that the contract gives a path."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._routes = Routes()

    async def call(self, request: Request) -> Response:
        """Answer one call."""
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        verb = "GET" if request.method == "HEAD" else request.method
        found = self._routes.find(verb, path)
        if found is None:
            if verbs := self._routes.verbs(path):
                raise HttpProblem(405, f"This path takes {', '.join(verbs)}.", {"allow": ", ".join(verbs)})
            raise HttpProblem(404, "There is nothing here.")
        rule, values = found
        metadata = self._door.metadata(request)
        message = message_of(rule, values, request.query_params.multi_items(), await self._body(request))
        _take_key(message, request)
        if rule.rpc.descriptor.server_streaming:
            return await self._streamed(rule, message, request)
        return answered(await self._door.mesh.unary(rule.rpc)(message, metadata=metadata))

    async def _body(self, request: Request) -> bytes:
        with self._door.room.tab(self._door.address(request)) as tab:
            return await read_body(request, tab, min(MAX_JSON_BYTES, self._door.settings.max_small_body_bytes))

    async def _streamed(self, rule: Rule, message: Message, request: Request) -> Response:
        if request.headers.get("last-event-id") == events.LAST:
            return Response(status_code=204)
        taker = Taker((("address", self._door.address(request)),))
        self._door.streams.take(taker)
        stream = self._door.mesh.stream(rule.rpc)(message, metadata=self._door.metadata(request))
        answers = _answers(stream)
        try:
            first = await anext(answers)
        except BaseException:
            stream.cancel()
            self._door.streams.give_back(taker)
            raise

        def done() -> None:
            stream.cancel()
            self._door.streams.give_back(taker)

        return _Stream(first, answers, done)


class _Stream(events.Events):
    """Events that give back what they hold when nobody reads them any more."""

    def __init__(self, first: Message, rest: AsyncIterator[Message], done: Callable[[], object]) -> None:
        super().__init__(first, rest)
        self._done = done

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


async def _answers(stream: Any) -> AsyncIterator[Message]:
    while (message := await stream.read()) is not aio.EOF:
        yield message


def _take_key(message: Any, request: Request) -> None:
    """`Idempotency-Key` is the request's id where the body names none."""
    key = request.headers.get("idempotency-key", "")
    if key and REQUEST_ID in message.DESCRIPTOR.fields_by_name and not message.request_id:
        message.request_id = key.strip('"')


def answering(handler: Handler) -> Handler:
    """The same handler, whose failures are told as problems."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HttpProblem as problem:
            return refused_by_http(problem)
        except Refusal as refusal:
            return refused_by_http(HttpProblem(refusal.status, refusal.message))
        except ServiceError as error:
            return refused(error)
        except Exception as error:
            log.error("call failed", method=request.method, path=request.url.path[:100], exc_info=error)
            return refused_by_http(HttpProblem(500, "Something is broken here."))

    return answer
