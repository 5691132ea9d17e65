"""What is served under `/v1`."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from horde.web_door.v1.calling import Calling, Door, answering

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def v1_routes(door: Door) -> list[BaseRoute]:
    """Every path of the contract."""
    return [Route("/{path:path}", answering(Calling(door).call), methods=METHODS)]
