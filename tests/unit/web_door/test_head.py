"""HEAD of a stream: the status and the headers, and nothing that goes on behind them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message
from starlette.requests import Request

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.web_door.room import Room
from horde.web_door.v1.calling import Calling


class Mesh:
    """A door whose mesh has one stream, and says whether it is held."""

    def __init__(self) -> None:
        self.held = 0
        self.settings = SimpleNamespace(max_small_body_bytes=1_024)
        self.room = Room(1_024 * 1_024)

    def address(self, request: Request) -> str:
        return "192.0.2.1"

    def metadata(self, request: Request) -> list[tuple[str, str]]:
        return []

    async def answers(self, *_: Any) -> AsyncGenerator[Message]:
        self.held += 1
        try:
            while True:
                yield pb.WatchGenerationResponse()
        finally:
            self.held -= 1


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(("verb", "held"), [("HEAD", 0), ("GET", 1)])
async def test_only_who_reads_a_stream_holds_one(verb: str, held: int) -> None:
    door: Any = Mesh()
    path = "/v1/generations/6f1a3a1e-2d0c-4c6e-9b57-0b6c8f6d4a11:watch"
    scope = {"type": "http", "method": verb, "path": path, "headers": [], "query_string": b""}
    response = await Calling(door).call(Request(scope, nothing))
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert door.held == held
    assert bool(response.body) is False
