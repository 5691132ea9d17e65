"""What is served under `/v1`."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from horde.web_door.door import Door
from horde.web_door.v1.calling import Calling, answering
from horde.web_door.v1.pictures import Pictures

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def v1_routes(door: Door) -> list[BaseRoute]:
    """Bytes, and every path of the contract."""
    pictures = Pictures(door)
    return [
        Route("/generations/{generation_id}/images/{job_id}", answering(pictures.image), methods=["GET"]),
        Route("/images/{ticket}", answering(pictures.by_ticket), methods=["GET"]),
        Route("/inputs/{input_id}", answering(pictures.put), methods=["PUT", "POST"]),
        Route("/{path:path}", answering(Calling(door).call), methods=METHODS),
    ]
