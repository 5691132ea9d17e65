"""Everything that is served over HTTP, each form of it an application of its own under a path of its own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from horde.services.clock import Clock
from horde.services.loops import Loops
from horde.web_door.connect import connect_routes
from horde.web_door.cross_origin import cross_origin
from horde.web_door.door import Door
from horde.web_door.neighbours.mesh import Mesh
from horde.web_door.page import page_routes
from horde.web_door.room import Room
from horde.web_door.settings import WebDoorSettings
from horde.web_door.v1.routes import v1_routes
from horde.web_door.v2.context import Context
from horde.web_door.v2.routes import v2_routes
from horde.web_door.v2.sessions import Sessions


async def alive(request: Request) -> PlainTextResponse:
    """That this process answers, for whoever restarts it otherwise. Asks nobody."""
    return PlainTextResponse("ok\n")


def build_app(settings: WebDoorSettings, mesh: Mesh, clock: Clock, loops: Loops) -> Starlette:
    """The whole door. A further form of HTTP is one more mount."""
    sessions = Sessions(mesh, clock, loops, settings.max_workers)
    room = Room(settings.max_memory_bytes)
    door = Door(settings, mesh, clock, room)
    middleware = cross_origin(settings.origins())
    routes: list[BaseRoute] = [
        Route("/healthz", alive),
        Mount("/api/v2", routes=v2_routes(Context(settings, mesh, clock, room), sessions)),
        Mount("/v1", routes=v1_routes(door), middleware=middleware),
        *connect_routes(door, middleware),
        *page_routes(),
    ]
    return Starlette(routes=routes)
