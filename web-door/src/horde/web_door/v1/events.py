"""Streams as server-sent events: an event for each message, comments while nothing happens, and an end that is told.

An event's name is the member of the message's oneof, its data the message in JSON, its id the version that it carries.
Who comes again with `Last-Event-ID` gets what the contract gives him: a snapshot first. After the last event there is
nothing to come again for: 204, upon which browsers stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from google.protobuf.message import Message
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from horde.services.errors import Internal, ServiceError
from horde.services.telemetry import get_logger
from horde.web_door.v1.problems import problem_of
from horde.web_door.v1.wire import text_of

log = get_logger(__name__)

MEDIA_TYPE: Final = "text/event-stream"
COMMENT_SECONDS: Final = 15.0
"""Between comments where nothing else is sent: proxies and browsers end what is silent."""
RETRY_MILLISECONDS: Final = 2_000
LAST: Final = "last"
"""The id of the event after which there is none."""


class Events(Response):
    """The answer that a stream of messages is, from its first one on."""

    media_type = MEDIA_TYPE

    def __init__(
        self, first: Message, rest: AsyncGenerator[Message], *, comment_seconds: float = COMMENT_SECONDS
    ) -> None:
        # Proxies that gather what they pass on would hold events back.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._comment_seconds = comment_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._texts()) as texts:
            async for text in texts:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _texts(self) -> AsyncGenerator[str]:
        yield f"retry: {RETRY_MILLISECONDS}\n\n{event_of(self._first)}"
        reading: asyncio.Task[Message] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(anext(self._rest))
                done, _ = await asyncio.wait((reading,), timeout=self._comment_seconds)
                if not done:
                    yield ":\n\n"
                    continue
                try:
                    message = reading.result()
                except StopAsyncIteration:
                    return
                except ServiceError as error:
                    yield _event("problem", json.dumps(problem_of(error), ensure_ascii=False))
                    return
                reading = None
                yield event_of(message)
        except Exception as error:
            log.error("stream failed", exc_info=error)
            yield _event("problem", json.dumps(problem_of(Internal("Something is broken here."))))
        finally:
            if reading is not None:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, ServiceError):
                    await reading
            await self._rest.aclose()


def event_of(message: Message) -> str:
    """A message as an event."""
    kind = message.DESCRIPTOR
    name = message.WhichOneof(kind.oneofs[0].name) if len(kind.oneofs) == 1 else None
    return _event(name or "message", text_of(message), _id_of(message, name))


def _id_of(message: Any, name: str | None) -> str:
    """What orders the event: the version of what it holds; nothing where it has none."""
    if name == "finished":
        return LAST
    held = getattr(message, name) if name else message
    return str(held.version) if "version" in held.DESCRIPTOR.fields_by_name else ""


def _event(name: str, data: str, event_id: str = "") -> str:
    numbered = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{numbered}data: {data}\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
