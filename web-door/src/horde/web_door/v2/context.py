"""What every part of the API needs: the mesh, how it is called, and what is remembered of it for a moment."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.mesh.v1 import mesh_service_pb2
from horde.api.model.v1 import model_service_pb2
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.telemetry import get_logger
from horde.web_door.caller import Caller, base_url, caller_of
from horde.web_door.core.asking import FIELDS
from horde.web_door.core.bodies import Body, read
from horde.web_door.core.refusals import Refusal, refusal_of
from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.remembering import Remembered
from horde.web_door.room import Room, read_body
from horde.web_door.settings import WebDoorSettings

log = get_logger(__name__)

B = TypeVar("B", bound=Body)
Handler = Callable[[Request], Awaitable[Response]]
MODELS_SECONDS = 2.0
MESH_SECONDS = 60.0
PAGE = 500
MOST_PAGES = 20
COMMON_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-expose-headers": "retry-after",
    "access-control-max-age": "86400",
}
"""Pages of other origins are clients, too; nothing here goes by cookies."""


class Context:
    """Use one for all requests."""

    def __init__(self, settings: WebDoorSettings, mesh: Mesh, clock: Clock, room: Room) -> None:
        self.settings = settings
        self.mesh = mesh
        self.clock = clock
        self.room = room
        self._proxies = settings.proxies()
        self._models: Remembered[Sequence[model_service_pb2.Model]] = Remembered(clock, MODELS_SECONDS, 1)
        self._mesh: Remembered[mesh_service_pb2.GetMeshResponse] = Remembered(clock, MESH_SECONDS, 1)

    def caller(self, request: Request) -> Caller:
        """Who calls."""
        return caller_of(request, self._proxies)

    def url(self, request: Request, path: str) -> str:
        """A path of this API as the caller can call it."""
        return f"{base_url(request, self.settings.public_url, self._proxies)}/api/v2/{path}"

    async def body(self, request: Request, kind: type[B], caller: Caller) -> B:
        """The body of a small request."""
        with self.room.tab(caller.address) as tab:
            return read(kind, parsed(await read_body(request, tab, self.settings.max_small_body_bytes)))

    async def models(self) -> Sequence[model_service_pb2.Model]:
        """All models, as they were at most a moment ago."""
        return await self._models.get("", self._ask_models)

    async def _ask_models(self) -> Sequence[model_service_pb2.Model]:
        found: list[model_service_pb2.Model] = []
        token = ""
        for _ in range(MOST_PAGES):
            request = model_service_pb2.ListModelsRequest(page_size=PAGE, page_token=token)
            page: model_service_pb2.ListModelsResponse = await self.mesh.models.ListModels(request)
            found.extend(page.models)
            if not (token := page.next_page_token):
                break
        return found

    async def about(self) -> mesh_service_pb2.GetMeshResponse:
        """What the mesh says of itself."""

        async def ask() -> mesh_service_pb2.GetMeshResponse:
            answer: mesh_service_pb2.GetMeshResponse = await self.mesh.mesh.GetMesh(mesh_service_pb2.GetMeshRequest())
            return answer

        return await self._mesh.get("", ask)


def parsed(body: bytes) -> object:
    """The JSON value of a body; raises Refusal."""
    if b"\\u0000" in body or b"\x00" in body:
        raise Refusal(400, "NulByteInPayload", "The body must not hold NUL characters.")
    try:
        value = json.loads(body or b"{}", parse_constant=_no_number)
        # What is half of a character is none, and no message can hold it.
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        raise Refusal(400, "BadRequest", "The body must be a JSON object.") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def answering(handler: Handler) -> Handler:
    """The same handler, which answers refusals as AI Horde does."""

    async def answer(request: Request) -> Response:
        try:
            response = await handler(request)
        except Refusal as refusal:
            response = refused(refusal)
        except ServiceError as error:
            response = refused(refusal_of(error, FIELDS))
        except Exception as error:
            log.error("call failed", method=request.method, path=request.url.path[:100], exc_info=error)
            response = refused(Refusal(500, "InternalError", "Something is broken here."))
        response.headers.update(COMMON_HEADERS)
        return response

    return answer


def refused(refusal: Refusal) -> Response:
    """A refusal as an answer."""
    headers = {"retry-after": str(refusal.retry_seconds)} if refusal.retry_seconds else None
    return JSONResponse(refusal.body(), refusal.status, headers)
