"""An upload as it arrives: order, gaps, sizes, pace; and the memory that it may use."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.services.errors import ResourceExhausted
from horde.storage_router.budget import ByteBudget
from horde.storage_router.core.assembly import MAX_CHUNK_BYTES, MAX_CHUNKS, Assembly, MinimumRate
from horde.storage_router.core.errors import DigestMismatch, ProtocolViolation, TooLarge
from horde.storage_router.core.partials import WORTH_KEEPING, Partials
from horde.testkit.loopback import ManualClock


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@given(st.binary(min_size=1, max_size=400), st.integers(1, 50), st.data())
def test_any_cut_of_any_content_gives_it_back_after_any_break(content: bytes, size: int, data: st.DataObject) -> None:
    kept = content[: data.draw(st.integers(0, len(content)))]
    start = data.draw(st.integers(0, len(kept)))
    assembly = Assembly(400, kept)
    for offset in range(start, len(content), size):
        assembly.add(offset, content[offset : offset + size])
    if start < len(content):
        assert assembly.finish(digest(content), len(content)) == content
        assert assembly.received == len(content) - start


@pytest.mark.parametrize("offset", [-1, 0, 3, 5, 1 << 40])
def test_a_later_chunk_must_follow_on(offset: int) -> None:
    assembly = Assembly(100)
    assembly.add(0, b"abcd")
    with pytest.raises(ProtocolViolation) as caught:
        assembly.add(offset, b"e")
    assert caught.value.metadata == {"got": f"offset {offset}"}
    assert assembly.kept() == b"abcd"


@pytest.mark.parametrize("offset", [-1, 5, 1 << 62])
def test_the_first_chunk_must_not_leave_a_gap(offset: int) -> None:
    with pytest.raises(ProtocolViolation):
        Assembly(100, b"kept").add(offset, b"e")


@pytest.mark.parametrize("size", [0, MAX_CHUNK_BYTES + 1])
def test_a_chunk_has_at_least_one_byte_and_at_most_256_kib(size: int) -> None:
    assembly = Assembly(1 << 20)
    assembly.add(0, bytes(MAX_CHUNK_BYTES))
    with pytest.raises(ProtocolViolation):
        assembly.add(MAX_CHUNK_BYTES, bytes(size))


def test_no_byte_more_than_allowed_is_taken() -> None:
    assembly = Assembly(4)
    assembly.add(0, b"abcd")
    with pytest.raises(TooLarge) as caught:
        assembly.add(4, b"e")
    assert caught.value.metadata == {"limit": "4", "unit": "bytes"}


def test_tiny_chunks_come_to_an_end() -> None:
    assembly = Assembly(1 << 20)
    for offset in range(MAX_CHUNKS):
        assembly.add(offset, b"x")
    with pytest.raises(ProtocolViolation):
        assembly.add(MAX_CHUNKS, b"x")


@pytest.mark.parametrize(("sha256", "size"), [(digest(b"other"), 4), (digest(b"abcd"), 5), (digest(b"abcd"), -1)])
def test_what_arrived_must_be_what_was_promised(sha256: bytes, size: int) -> None:
    assembly = Assembly(100)
    assembly.add(0, b"abcd")
    with pytest.raises(DigestMismatch):
        assembly.finish(sha256, size)


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(ProtocolViolation):
        Assembly(100).finish(b"short", 0)


def test_the_rate_counts_from_the_tenth_second() -> None:
    rate = MinimumRate(16 * 1024, 10.0)
    assert rate.latest(0) == 10.0
    assert rate.latest(16 * 1024 * 5) == 15.0


def test_partials_are_bounded_and_the_oldest_go_first() -> None:
    clock = ManualClock()
    partials = Partials(3 * WORTH_KEEPING, clock.monotonic)
    for number in range(5):
        partials.keep((str(number), "lease"), bytes([number]) * WORTH_KEEPING)
    assert partials.size == 3 * WORTH_KEEPING
    assert partials.pop(("1", "lease")) == b""
    assert partials.pop(("4", "lease")) == bytes([4]) * WORTH_KEEPING
    assert partials.size == 2 * WORTH_KEEPING


def test_partials_are_forgotten_after_an_hour_and_not_kept_when_tiny() -> None:
    clock = ManualClock()
    partials = Partials(1 << 20, clock.monotonic)
    partials.keep(("tiny", "lease"), b"x")
    partials.keep(("job", "lease"), bytes(WORTH_KEEPING))
    clock.jump(3_599)
    partials.expire()
    assert partials.size == WORTH_KEEPING
    clock.jump(1)
    partials.expire()
    assert partials.size == 0


async def test_strangers_are_refused_when_the_budget_is_used_up_and_neighbours_wait() -> None:
    budget = ByteBudget("max_memory_bytes", 10)
    with budget.tab() as tab:
        tab.take(8)
        with pytest.raises(ResourceExhausted, match="max_memory_bytes") as caught:
            tab.take(3)
        # As the contract has it: a bare status code, and no ErrorInfo.
        assert (caught.value.reason, caught.value.domain, caught.value.metadata) == ("", "", {})
        assert caught.value.retry_after is not None
        assert budget.used == 8
    assert budget.used == 0
    order: list[str] = []

    async def hold(name: str, size: int, release: asyncio.Event) -> None:
        async with budget.hold(size):
            order.append(name)
            await release.wait()

    first, second = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(hold("first", 25, first)), asyncio.create_task(hold("second", 4, second))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["first"]
    cancelled = asyncio.create_task(hold("cancelled", 1, second))
    await asyncio.sleep(0)
    cancelled.cancel()
    first.set()
    second.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]
    assert budget.used == 0
