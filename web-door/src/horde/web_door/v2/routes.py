"""Which path of AI Horde's REST API is answered by what."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.settings import WebDoorSettings

VERSION = "5.1.5"
"""Of AI Horde, whose behaviour this is: clients show it, and some ask for the least that they need."""


async def heartbeat(request: Request) -> Response:
    """That the door answers."""
    return JSONResponse({"message": "OK", "version": VERSION})


def v2_routes(settings: WebDoorSettings, mesh: Mesh) -> list[BaseRoute]:
    """Everything under `/api/v2`."""
    return [Route("/status/heartbeat", heartbeat)]
