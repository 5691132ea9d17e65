"""A bounded outbox, and two directions that end together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from horde.services.errors import Aborted, ResourceExhausted
from horde.services.streams import Outbox, OutboxClosed, Overflow, converse
from horde.testkit.loopback import settle


async def test_items_come_out_in_order_many_at_once() -> None:
    outbox: Outbox[int] = Outbox(10)
    for number in range(5):
        outbox.put_nowait(number)
    assert await outbox.drain(3) == [0, 1, 2]
    assert await outbox.drain() == [3, 4]


async def test_a_full_outbox_refuses() -> None:
    outbox: Outbox[int] = Outbox(1)
    outbox.put_nowait(1)
    with pytest.raises(ResourceExhausted):
        outbox.put_nowait(2)


@pytest.mark.parametrize(("policy", "left"), [(Overflow.DROP_OLDEST, [2, 3]), (Overflow.DROP_NEWEST, [1, 2])])
async def test_a_full_outbox_drops_as_it_was_told(policy: Overflow, left: list[int]) -> None:
    outbox: Outbox[int] = Outbox(2, policy)
    assert outbox.put_nowait(1)
    assert outbox.put_nowait(2)
    assert not outbox.put_nowait(3)
    assert await outbox.drain() == left
    assert outbox.dropped == 1


async def test_sending_waits_for_room() -> None:
    outbox: Outbox[int] = Outbox(1)
    await outbox.send(1)
    sending = asyncio.create_task(outbox.send(2))
    await settle()
    assert not sending.done()
    assert await outbox.drain() == [1]
    await sending
    assert await outbox.drain() == [2]


async def test_many_senders_never_overfill_it() -> None:
    outbox: Outbox[int] = Outbox(2)
    senders = [asyncio.create_task(outbox.send(number)) for number in range(20)]
    seen: list[int] = []
    while len(seen) < 20:
        assert len(outbox) <= 2
        seen += await outbox.drain()
        await settle()
    await asyncio.gather(*senders)
    assert sorted(seen) == list(range(20))


async def test_what_is_in_a_closed_outbox_is_still_read() -> None:
    outbox: Outbox[int] = Outbox(3)
    outbox.put_nowait(1)
    outbox.close()
    outbox.close(Aborted())
    assert [item async for item in outbox] == [1]
    with pytest.raises(OutboxClosed):
        outbox.put_nowait(2)
    with pytest.raises(OutboxClosed):
        await outbox.send(2)


async def test_closing_wakes_the_reader_and_the_senders() -> None:
    outbox: Outbox[int] = Outbox(1)
    outbox.put_nowait(1)
    sender = asyncio.create_task(outbox.send(2))
    await settle()
    outbox.close()
    with pytest.raises(OutboxClosed):
        await sender
    assert await outbox.drain() == [1]
    assert await outbox.drain() == []


async def test_closing_with_an_error_raises_it_after_the_last_item() -> None:
    outbox: Outbox[int] = Outbox(3)
    outbox.put_nowait(1)
    outbox.close(Aborted("enough"))
    assert await outbox.drain() == [1]
    with pytest.raises(Aborted):
        await outbox.drain()


async def test_a_conversation_ends_after_the_other_side_has() -> None:
    outbox: Outbox[int] = Outbox(10)

    async def listen() -> None:
        for number in (1, 2, 3):
            outbox.put_nowait(number * 2)

    assert [item async for item in converse(listen, outbox, outbox)] == [2, 4, 6]
    assert outbox.closed


async def test_what_is_said_may_be_batches_of_what_is_in_the_outbox() -> None:
    outbox: Outbox[int] = Outbox(10)

    async def listen() -> None:
        for number in (1, 2, 3):
            outbox.put_nowait(number)

    async def pairs() -> AsyncIterator[list[int]]:
        while batch := await outbox.drain(2):
            yield batch

    assert [batch async for batch in converse(listen, outbox, pairs())] == [[1, 2], [3]]


@pytest.mark.parametrize("error", [Aborted("no more"), KeyError("a defect")])
async def test_whatever_error_ends_the_listening_ends_the_call_with_it(error: Exception) -> None:
    outbox: Outbox[int] = Outbox(10)

    async def listen() -> None:
        outbox.put_nowait(1)
        outbox.put_nowait(2)
        raise error

    heard = []
    with pytest.raises(type(error)):
        async for item in converse(listen, outbox, outbox):
            heard.append(item)  # noqa: PERF401 - what was said before the error counts
    assert heard == [1, 2]


async def test_closing_the_outbox_ends_it_and_the_listener() -> None:
    outbox: Outbox[int] = Outbox(10)

    async def listen() -> None:
        outbox.put_nowait(1)
        outbox.close()
        await asyncio.Event().wait()

    assert [item async for item in converse(listen, outbox, outbox)] == [1]
    assert len(asyncio.all_tasks()) == 1


async def test_a_batch_is_cut_by_bytes_and_a_large_item_travels_alone() -> None:
    outbox: Outbox[bytes] = Outbox(10)
    for item in (b"a" * 3, b"b" * 3, b"c" * 30, b"d"):
        outbox.put_nowait(item)
    assert await outbox.drain(10, len, max_bytes=7) == [b"a" * 3, b"b" * 3]
    assert await outbox.drain(10, len, max_bytes=7) == [b"c" * 30]
    assert await outbox.drain(10, len, max_bytes=7) == [b"d"]
