"""What is served under `/v1`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from horde.web_door.door import Door
from horde.web_door.pages import Pages
from horde.web_door.v1.calling import Calling, answering
from horde.web_door.v1.pictures import Pictures

DOCS = Path(__file__).parent / "docs"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def v1_routes(door: Door) -> list[BaseRoute]:
    """Bytes, what describes it all, and every path of the contract."""
    pictures = Pictures(door)
    document = (resources.files("horde.api") / "openapi.json").read_bytes()

    async def openapi(request: Request) -> Response:
        """The contract as OpenAPI."""
        return Response(document, media_type="application/json", headers={"cache-control": "no-cache"})

    async def beginning(request: Request) -> Response:
        """Where to read on."""
        return JSONResponse({"docs": f"{request.url.path}docs/", "openapi": f"{request.url.path}openapi.json"})

    return [
        Route("/", beginning, methods=["GET"]),
        Route("/generations/{generation_id}/images/{job_id}", answering(pictures.image), methods=["GET"]),
        Route("/images/{ticket}", answering(pictures.by_ticket), methods=["GET"]),
        Route("/inputs/{input_id}", answering(pictures.put), methods=["PUT", "POST"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Mount("/docs", Pages(directory=DOCS, html=True)),
        Route("/{path:path}", answering(Calling(door).call), methods=METHODS),
    ]
