"""Refusals of one connection are told at once, until there are too many; others notice nothing."""

from __future__ import annotations

import asyncio

from horde.services.addresses import forwarded_peer, parse_networks
from horde.services.brakes import REMEMBERED, Brake
from horde.testkit.loopback import ManualClock, settle


async def test_the_first_refusals_are_told_at_once_and_the_others_after_a_while() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=3)
    for _ in range(3):
        await brake.hold("flooder")
    held = asyncio.create_task(brake.hold("flooder"))
    await brake.hold("somebody else")
    await clock.advance(0.9)
    assert not held.done()
    assert brake.held == 1
    await clock.advance(0.1)
    await held
    assert brake.held == 0


async def test_one_that_stops_is_forgiven() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=1, window_seconds=10)
    await brake.hold("flooder")
    await clock.advance(10)
    await brake.hold("flooder")


async def test_no_more_wait_than_may_and_who_hangs_up_waits_no_longer() -> None:
    brake = Brake(ManualClock(), free=0, max_held=2)
    held = [asyncio.create_task(brake.hold("flooder")) for _ in range(2)]
    await settle()
    await brake.hold("flooder")
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert brake.held == 0


async def test_many_connections_are_forgotten() -> None:
    brake = Brake(ManualClock())
    for number in range(REMEMBERED + 10):
        await brake.hold(f"connection {number}")
    assert len(brake._conduct) == REMEMBERED


class Cuts:
    def __init__(self) -> None:
        self.connections: list[str] = []

    def cut(self, connection: str) -> None:
        self.connections.append(connection)


async def test_whoever_goes_on_is_cut_and_the_next_connection_of_the_address_sooner() -> None:
    clock, cuts = ManualClock(), Cuts()
    brake = Brake(clock, free=1_000, cuts=cuts, most=20, least=5)
    for _ in range(20):
        await brake.hold("ipv4:192.0.2.7:1001")
    assert not cuts.connections
    brake.broken_off("ipv4:192.0.2.7:1001")
    assert cuts.connections == ["ipv4:192.0.2.7:1001"]
    assert brake.gone("ipv4:192.0.2.7:1001")
    brake.broken_off("ipv4:192.0.2.7:1001")  # What still comes of it counts no more.

    def calls_until_cut(connection: str) -> int:
        before, calls = brake.cut, 0
        while brake.cut == before:
            brake.broken_off(connection)
            calls += 1
        return calls

    assert calls_until_cut("ipv4:192.0.2.8:1002") == 11
    assert calls_until_cut("ipv4:192.0.2.9:1003") == 6
    assert calls_until_cut("ipv4:192.0.2.9:1004") == 6
    assert calls_until_cut("ipv4:198.51.100.1:1005") == 21, "another address"
    await clock.advance(60)
    assert calls_until_cut("ipv4:192.0.2.9:1006") == 21, "forgotten"


async def test_whom_a_proxy_calls_for_is_held_and_not_cut() -> None:
    cuts = Cuts()
    brake = Brake(ManualClock(), free=2, cuts=cuts, most=5, least=2)
    peer = forwarded_peer("ipv4:10.0.0.1:50000", ["192.0.2.7"], parse_networks("10.0.0.0/8"))
    for _ in range(2):
        await brake.hold(peer)
    held = [asyncio.create_task(brake.hold(peer)) for _ in range(50)]
    await settle()
    assert not any(task.done() for task in held)
    assert (cuts.connections, brake.held, brake.gone(peer)) == ([], 50, False)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_who_is_seldom_in_the_wrong_is_never_cut() -> None:
    clock, cuts = ManualClock(), Cuts()
    brake = Brake(clock, free=1_000, cuts=cuts, most=20, least=5)
    for _ in range(100):
        await brake.hold("ipv4:192.0.2.7:1001")
        await clock.advance(1)
    assert not cuts.connections


async def test_who_shares_an_address_with_a_flood_and_is_mostly_in_order_is_neither_held_nor_cut() -> None:
    clock, cuts = ManualClock(), Cuts()
    brake = Brake(clock, free=4, cuts=cuts, most=20, least=5)
    for port in range(2000, 2010):
        for _ in range(21):
            brake.broken_off(f"ipv4:192.0.2.7:{port}")
    neighbour = "ipv4:192.0.2.8:1001"
    for _ in range(4):
        assert all(brake.opened(neighbour) for _ in range(10))
        await brake.hold(neighbour)
    assert brake.held == 0
    for _ in range(6):
        assert all(brake.opened(neighbour) for _ in range(10))
        brake.broken_off(neighbour)
    assert neighbour not in cuts.connections
    assert not brake.opened("ipv4:192.0.2.7:2009")


async def test_after_cuts_an_address_is_told_no_refusal_at_once() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=1, cuts=Cuts(), most=3, least=3)
    for _ in range(4):
        brake.broken_off("ipv4:192.0.2.7:1001")
    assert brake.cut == 1
    held = asyncio.create_task(brake.hold("ipv4:192.0.2.7:1002"))
    await clock.advance(0)
    assert brake.held == 1
    await clock.advance(1)
    await held
