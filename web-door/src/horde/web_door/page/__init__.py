"""The page for people: plain files that a browser runs as they are, over `/v1` alone.

Nothing is made here, and nothing is kept but in the browser. Whatever a stranger wrote is shown as text; the headers
say to the browser that it may run and load nothing but what comes from this door.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES: Final = Path(__file__).parent / "files"
HEADERS: Final = {
    # Previews, pictures that need a credential, and masks are made by the page itself: blob.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # Asked for each time, and answered without the bytes where they are the same.
    "cache-control": "no-cache",
}


class Page(StaticFiles):
    """Files, with the headers of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            # What comes here is a path of nobody: of an RPC that is not served, for example.
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def page_routes() -> list[BaseRoute]:
    """The page, under whatever is left when every other path has its own."""
    return [Mount("/", Page(directory=FILES, html=True))]
