"""Health: watchers cost nobody else anything, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from horde.services import health as module
from horde.services.errors import NotFound, ResourceExhausted
from horde.services.health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = health_pb2.HealthCheckRequest(service="books")


class Caller:
    """A call's context, of this peer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer


def watch(health: Health, peer: str = "ipv4:192.0.2.7:50000") -> Any:
    return health.Watch(REQUEST, Caller(peer))


async def test_who_does_not_read_holds_up_neither_others_nor_the_stop() -> None:
    health = Health()
    health.set(True, ["books"])
    silent, reader = watch(health), watch(health)
    await anext(silent)
    assert (await anext(reader)).status == SERVING
    health.set(False, ["books"])
    assert (await anext(reader)).status == NOT_SERVING
    health.set(True, ["books"])
    health.stop()
    assert [answer.status async for answer in reader] == []
    # It is told the last, whenever it comes to read.
    assert [answer.status async for answer in silent] == [NOT_SERVING]
    health.set(True, ["books"])
    assert (await health.Check(REQUEST, None)).status == NOT_SERVING


async def test_no_more_watch_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 1)
    health = Health()
    first, second = watch(health), watch(health)
    await anext(first)
    with pytest.raises(ResourceExhausted):
        await anext(second)
    await first.aclose()
    await anext(watch(health))


async def taken(health: Health, peers: Iterator[str]) -> list[Any]:
    """As many watches as these peers can have, one of each."""
    watches: list[Any] = []
    for peer in peers:
        watching = watch(health, peer)
        try:
            await anext(watching)
        except ResourceExhausted:
            break
        watches.append(watching)
    return watches


async def test_neither_one_connection_nor_one_network_takes_all_watches() -> None:
    health = Health()
    one = await taken(health, repeat("ipv4:192.0.2.7:50000"))
    assert 2 <= len(one) <= module.MAX_WATCHERS // 100
    network = await taken(health, (f"ipv4:192.0.2.{port % 250}:{port}" for port in range(2_000)))
    assert len(network) <= module.MAX_WATCHERS // 2
    others = [f"ipv4:198.51.{number}.1:50000" for number in range(100)]
    assert len(await taken(health, iter(others))) == len(others)
    for watching in (*one, *network):
        await watching.aclose()
    assert len(await taken(health, repeat("ipv4:192.0.2.7:50000"))) == len(one)


async def test_an_unknown_service_is_not_found_and_may_come_later() -> None:
    health = Health()
    with pytest.raises(NotFound):
        await health.Check(REQUEST, None)
    watching = watch(health)
    assert (await anext(watching)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    health.set(True, ["books"])
    assert (await anext(watching)).status == SERVING
