"""One call over HTTP: read, passed on to the mesh with the caller's own credentials, and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from horde.services.errors import ServiceError
from horde.services.telemetry import get_logger
from horde.web_door.core.refusals import Refusal
from horde.web_door.door import Door
from horde.web_door.room import read_body
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
        message = message_of(rule, values, request.query_params.multi_items(), await self._body(request))
        _take_key(message, request)
        if rule.rpc.descriptor.server_streaming:
            return await self._streamed(rule, message, request)
        return answered(await self._door.answer(rule.rpc, message, self._door.metadata(request)))

    async def _body(self, request: Request) -> bytes:
        with self._door.room.tab(self._door.address(request)) as tab:
            return await read_body(request, tab, min(MAX_JSON_BYTES, self._door.settings.max_small_body_bytes))

    async def _streamed(self, rule: Rule, message: Message, request: Request) -> Response:
        if request.headers.get("last-event-id") == events.LAST:
            return Response(status_code=204)
        answers = self._door.answers(rule.rpc, message, self._door.metadata(request), self._door.address(request))
        # The first one decides whether there is a stream at all: after that no status can be told.
        answer = events.Events(await anext(answers), answers)
        if request.method != "HEAD":
            return answer
        # Nobody reads it: the stream, and the watcher's place that it holds, end here.
        await answers.aclose()
        head = Response(headers=answer.headers)
        del head.headers["content-length"]
        return head


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
