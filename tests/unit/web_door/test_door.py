"""Whom the door's bounds count, what it passes on of who calls, and how many streams it holds."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.services.addresses import parse_networks
from horde.services.errors import ResourceExhausted
from horde.testkit.loopback import ManualClock
from horde.web_door.caller import metadata_of
from horde.web_door.contract import rpcs
from horde.web_door.core.ranges import NotSatisfiable, range_of
from horde.web_door.door import Door
from horde.web_door.room import Room
from horde.web_door.settings import WebDoorSettings

WATCH = next(rpc for rpc in rpcs() if rpc.descriptor.name == "WatchGeneration")


def request(peer: str, **headers: str) -> Request:
    told = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": told, "client": (peer, 1)})


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
    ],
)
def test_an_address_is_believed_from_proxies_alone(peer: str, said: str, address: str) -> None:
    metadata = metadata_of(request(peer, x_forwarded_for=said), parse_networks("10.0.0.0/8"))
    assert metadata == (("x-forwarded-for", address),)


@pytest.mark.parametrize(
    ("shown", "passed"),
    [
        ("Bearer abc", "Bearer abc"),
        ("  Pass x ", "Pass x"),
        ("Bearer \xfc", "?"),
        ("Bearer a\nb", "?"),
        ("x" * 300, "?"),
    ],
)
def test_credentials_go_on_as_they_are_or_as_none_that_can_be(shown: str, passed: str) -> None:
    assert dict(metadata_of(request("192.0.2.1", authorization=shown), ()))["authorization"] == passed


class Endless:
    """A mesh whose streams say one thing and go on."""

    def __init__(self) -> None:
        self.streams: Any = self
        self.open = 0

    def unary_stream(self, *_: object) -> Any:
        return lambda *_, **__: Stream(self)


class Stream:
    def __init__(self, mesh: Endless) -> None:
        self._mesh = mesh
        mesh.open += 1

    async def read(self) -> pb.WatchGenerationResponse:
        return pb.WatchGenerationResponse()

    def cancel(self) -> None:
        self._mesh.open -= 1


async def test_an_address_holds_half_of_the_streams_that_are_left_and_gives_them_back() -> None:
    mesh: Any = Endless()
    door = Door(WebDoorSettings(max_streams=8), mesh, ManualClock(), Room(2**20))
    held = [door.answers(WATCH, pb.WatchGenerationRequest(), (), "192.0.2.1") for _ in range(4)]
    for stream in held:
        await anext(stream)
    one_more = door.answers(WATCH, pb.WatchGenerationRequest(), (), "192.0.2.1")
    with pytest.raises(ResourceExhausted):
        await anext(one_more)
    other = door.answers(WATCH, pb.WatchGenerationRequest(), (), "198.51.100.1")
    await anext(other)
    assert mesh.open == 5
    for stream in (*held, other):
        await stream.aclose()
    assert mesh.open == 0
    again = door.answers(WATCH, pb.WatchGenerationRequest(), (), "192.0.2.1")
    await anext(again)
    await again.aclose()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=3-99", (3, 10)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("pages=1-2", None),
        ("bytes=1", None),
        (f"bytes={'9' * 30}-", None),
    ],
)
def test_a_range_is_read(header: str, found: tuple[int, int] | None) -> None:
    assert range_of(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_past_the_end_is_not_there(header: str) -> None:
    with pytest.raises(NotSatisfiable):
        range_of(header, 10)
