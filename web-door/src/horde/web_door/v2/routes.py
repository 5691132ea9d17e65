"""Which path of AI Horde's REST API is answered by what."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from horde.web_door.v2.context import COMMON_HEADERS, Context, Handler, answering
from horde.web_door.v2.following import Following
from horde.web_door.v2.generating import Generating
from horde.web_door.v2.sessions import Sessions
from horde.web_door.v2.working import Working

VERSION = "5.1.5"
"""Of AI Horde, whose behaviour this is: clients show it, and some ask for the least that they need."""


async def heartbeat(request: Request) -> Response:
    """That the door answers."""
    return JSONResponse({"message": "OK", "version": VERSION})


async def preflight(request: Request) -> Response:
    """What browsers ask before they call from another page."""
    return Response(status_code=204, headers=COMMON_HEADERS)


async def nothing_here(request: Request) -> Response:
    """An answer in JSON, which is all that clients read."""
    return JSONResponse({"message": "There is nothing here.", "rc": "NotFound"}, 404, COMMON_HEADERS)


def v2_routes(context: Context, sessions: Sessions) -> list[BaseRoute]:
    """Everything under `/api/v2`."""
    generating, following, working = Generating(context), Following(context), Working(context, sessions)
    answers: list[tuple[str, str, Handler]] = [
        ("GET", "/status/heartbeat", heartbeat),
        ("POST", "/generate/async", generating.ask),
        ("GET", "/generate/check/{id}", following.check),
        ("GET", "/generate/status/{id}", following.status),
        ("DELETE", "/generate/status/{id}", following.cancel),
        ("GET", "/images/{ticket}/{name}", following.image),
        ("POST", "/generate/pop", working.pop),
        ("POST", "/generate/submit", working.submit),
        ("PUT", "/uploads/{grant}", working.upload),
        ("GET", "/inputs/{ticket}", working.input),
    ]
    routes: list[BaseRoute] = [Route(path, answering(handler), methods=[method]) for method, path, handler in answers]
    everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [
        *routes,
        Route("/{path:path}", preflight, methods=["OPTIONS"]),
        Route("/{path:path}", nothing_here, methods=everything),
    ]
