"""Memory for the bodies that are read whole and the pictures that are told whole, shared by those who send them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from starlette.requests import Request

from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.shares import Pot, Tab, Taker
from horde.web_door.core.refusals import Refusal

BODY_SECONDS = 60.0
SMALL_BYTES = 16 * 1024
"""A body of this size needs no share: connections are bounded, and so it is."""


def _full(kind: str) -> ServiceError:
    return ResourceExhausted("Too much is on its way; wait.", retry_after=timedelta(seconds=2))


class Room:
    """So many bytes in memory, of all requests together; one address takes no more than half of what is left."""

    def __init__(self, capacity: int) -> None:
        self._pot = Pot(capacity, {"address": 1.0}, _full, least=SMALL_BYTES)

    @contextmanager
    def tab(self, address: str) -> Iterator[Tab]:
        """A tab for one request; all that is on it is given back at the end of the block."""
        with self._pot.tab(Taker((("address", address),))) as tab:
            yield tab


async def read_body(request: Request, tab: Tab, most: int) -> bytes:
    """The whole body; raises Refusal where it is larger than may be, and ServiceError where there is no room now."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise Refusal(413, "BadRequest", f"The body is larger than {most} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                if len(body) + len(part) > most:
                    raise Refusal(413, "BadRequest", f"The body is larger than {most} bytes.")
                if len(body) + len(part) > SMALL_BYTES:
                    tab.take(len(part))
                body += part
    except TimeoutError:
        raise Refusal(408, "BadRequest", f"The body was not here within {BODY_SECONDS:g} seconds.") from None
    return bytes(body)
