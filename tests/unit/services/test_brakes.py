"""Refusals of one connection are told at once, until there are too many; others notice nothing."""

from __future__ import annotations

import asyncio

from horde.services.addresses import forwarded_peer, parse_networks
from horde.services.brakes import GONE_SECONDS, REMEMBERED, Brake
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


async def waited(clock: ManualClock, brake: Brake, connection: str) -> int:
    """Seconds until a refusal is told."""
    held = asyncio.create_task(brake.hold(connection))
    await settle()
    for seconds in range(10):
        if held.done():
            return seconds
        await clock.advance(1.0)
    raise AssertionError("it is held for ever")


async def test_who_goes_on_waits_longer_and_is_forgiven_by_half_and_who_is_seldom_wrong_does_not() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=2, window_seconds=100)
    assert [await waited(clock, brake, "flooder") for _ in range(10)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    await clock.advance(100)
    assert [await waited(clock, brake, "flooder") for _ in range(2)] == [2, 3]
    await clock.advance(200)
    assert await waited(clock, brake, "flooder") == 0
    for _ in range(100):
        brake.served("mostly in order")
    assert [await waited(clock, brake, "mostly in order") for _ in range(8)] == [0, 0, 1, 1, 1, 1, 1, 1]


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


def serve(brake: Brake, connection: str, calls: int) -> None:
    for _ in range(calls):
        brake.served(connection)


async def test_who_shares_an_address_with_a_flood_and_is_mostly_in_order_is_neither_held_nor_cut() -> None:
    clock, cuts = ManualClock(), Cuts()
    brake = Brake(clock, free=4, cuts=cuts, most=20, least=5)
    for port in range(2000, 2010):
        for _ in range(21):
            brake.broken_off(f"ipv4:192.0.2.7:{port}")
    neighbour = "ipv4:192.0.2.8:1001"
    for _ in range(4):
        serve(brake, neighbour, 10)
        await brake.hold(neighbour)
    assert brake.held == 0
    for _ in range(6):
        serve(brake, neighbour, 10)
        brake.broken_off(neighbour)
    assert neighbour not in cuts.connections
    assert brake.gone("ipv4:192.0.2.7:2009")
    assert not brake.gone(neighbour)


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


async def begun(brake: Brake, connection: str, count: int) -> list[asyncio.Task[None]]:
    """So many refusals of a connection at once; those that wait."""
    tasks = [asyncio.create_task(brake.hold(connection)) for _ in range(count)]
    await settle()
    return [task for task in tasks if not task.done()]


async def ended(*held: asyncio.Task[None]) -> None:
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_a_flood_fills_its_own_seats_and_others_still_wait_for_their_refusals() -> None:
    brake = Brake(ManualClock(), free=0, max_held=100)
    flood = await begun(brake, "ipv4:192.0.2.7:0", 1_000)
    assert len(flood) == 50, "half of them"
    others = await begun(brake, "ipv4:198.51.100.1:0", 1_000)
    assert len(others) == 25, "half of what is left"
    third = await begun(brake, "ipv4:203.0.113.1:0", 1)
    assert len(third) == 1
    await ended(*flood, *others, *third)
    assert brake.held == 0


async def test_whoever_has_more_refusals_waiting_than_may_is_cut() -> None:
    cuts = Cuts()
    brake = Brake(ManualClock(), free=0, max_held=20, cuts=cuts, most=1_000)
    flood = await begun(brake, "ipv4:192.0.2.7:1001", 11)
    assert len(flood) == 10
    assert cuts.connections == ["ipv4:192.0.2.7:1001"]
    await ended(*flood)


async def test_whom_a_proxy_calls_for_is_not_listened_to_for_a_while_when_his_seats_are_full() -> None:
    clock, cuts = ManualClock(), Cuts()
    brake = Brake(clock, free=0, max_held=20, cuts=cuts, most=5, least=2)
    proxies = parse_networks("10.0.0.0/8")
    peer, neighbour = (
        forwarded_peer("ipv4:10.0.0.1:50000", [address], proxies) for address in ("192.0.2.7", "192.0.2.8")
    )
    flood = await begun(brake, peer, 11)
    assert len(flood) == 10
    assert brake.gone(peer), "that costs no work"
    assert not brake.gone(neighbour)
    assert not cuts.connections, "the connection is the proxy's"
    await clock.advance(GONE_SECONDS)
    assert not brake.gone(peer)
    await ended(*flood)


async def test_fresh_connections_of_a_network_have_no_fresh_refusals_free() -> None:
    clock = ManualClock()
    brake = Brake(clock, free=4)
    told = 0
    for port in range(100):
        held = await begun(brake, f"ipv4:192.0.2.7:{1000 + port}", 4)
        told += 4 - len(held)
        await ended(*held)
    # 32 with four free, then 2 and 1 of each 32, then none.
    assert told < 4 * 8 + 2 * 8 + 8 + 4
    held = await begun(brake, "ipv4:198.51.100.1:1000", 4)
    assert not held, "another network"
    await clock.advance(20)
    held = await begun(brake, "ipv4:192.0.2.7:5000", 4)
    assert not held, "forgiven"
