"""The writer with a store that dawdles, fails and forgets: what is answered when, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry
from horde.ledger.core.errors import InsufficientKudos
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Award, Event
from horde.ledger.store.memory import MemoryStore
from horde.ledger.store.port import Batch, Head, LookUp
from horde.ledger.writer import MAX_WAITING, RETRY_PAUSES_S, Writer
from horde.services.errors import Internal, ResourceExhausted, Unavailable
from horde.testkit.ledger import awarded, gift, held, opened, settled
from horde.testkit.loopback import ManualClock, settle

T = TypeVar("T")


class Moody(MemoryStore):
    """A store that commits when it is let, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail_before: list[Exception] = []
        self.fail_after: list[Exception] = []
        self.fail_look_up: list[Exception] = []
        self.sizes: list[int] = []
        self.encoded: list[int] = []
        self.look_up_gate = asyncio.Event()
        self.look_up_gate.set()

    def encode(self, batch: Batch) -> None:
        self.encoded.append(len(batch.entries))

    async def write(self, previous: Head, batch: Batch) -> None:
        await self.gate.wait()
        if self.fail_before:
            raise self.fail_before.pop(0)
        await super().write(previous, batch)
        self.sizes.append(len(batch.entries))
        if self.fail_after:
            raise self.fail_after.pop(0)

    async def look_up(self, work: Callable[[LookUp], T]) -> T:
        await asyncio.sleep(0)
        if self.fail_look_up:
            raise self.fail_look_up.pop(0)
        found = await super().look_up(work)
        # What it saw is old by the time it is told.
        await self.look_up_gate.wait()
        return found


async def test_nothing_is_answered_before_it_is_durable() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock()) as writer:
        first = asyncio.create_task(writer.apply([opened("ann")]))
        await settle()
        second = asyncio.create_task(writer.apply([awarded("ann", KUDOS)]))
        await settle()
        assert not first.done()
        assert not second.done()
        assert writer.sequence == 0
        store.gate.set()
        await asyncio.gather(first, second)
        assert writer.sequence == 2


async def test_what_comes_while_a_commit_runs_is_the_next_batch() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=256) as writer:
        calls = [asyncio.create_task(writer.apply([opened("ann")]))]
        await settle()
        calls += [asyncio.create_task(writer.apply([awarded("ann", 1, str(n))])) for n in range(300)]
        await settle()
        store.gate.set()
        await asyncio.gather(*calls)
    assert store.sizes == [1, 256, 44]


async def test_a_full_batch_is_made_ready_while_another_is_committed() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=2) as writer:
        calls = [asyncio.create_task(writer.apply([opened("ann")]))]
        await settle()
        calls += [asyncio.create_task(writer.apply([awarded("ann", 1, str(n))])) for n in range(3)]
        await settle()
        assert store.encoded == [1, 2]
        assert not any(call.done() for call in calls)
        store.gate.set()
        await asyncio.gather(*calls)
        assert store.encoded == store.sizes == [1, 2, 1]


async def test_what_was_ready_upon_a_failed_commit_is_decided_again() -> None:
    store, clock = Moody(), ManualClock()
    async with Writer(store, Economy(), clock, max_batch=2) as writer:
        await writer.apply([opened("ann"), awarded("ann", 20 * KUDOS)])
        store.gate.clear()
        store.fail_before.append(Unavailable())
        # Being committed, ready, and open: each stands upon the one before.
        calls = [asyncio.create_task(writer.apply([held("g", "ann")]))]
        await settle()
        calls.append(asyncio.create_task(writer.apply([settled("g", "bob"), gift("ann", "bob", 1 * KUDOS)])))
        await settle()
        calls.append(asyncio.create_task(writer.apply([gift("ann", "bob", 7 * KUDOS, "too much")])))
        await settle()
        store.gate.set()
        await settle()
        await clock.advance(RETRY_PAUSES_S[0])
        (holds,), (paid, given), (refused,) = await asyncio.gather(*calls)
        assert [type(each.result) for each in (holds, paid, given)] == [Entry] * 3
        assert isinstance(refused.result, InsufficientKudos)
        assert not any(each.repeated for each in (holds, paid, given, refused))
        assert len(store._events) == 5


async def test_no_more_than_two_batches_are_given_to_the_store() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=2) as writer:
        calls = [asyncio.create_task(writer.apply([awarded("ann", 1, str(n))])) for n in range(9)]
        await settle()
        assert store.encoded == [2, 2]
        store.gate.set()
        await asyncio.gather(*calls)
        assert store.sizes == [2, 2, 2, 2, 1]


async def test_a_repeat_of_what_is_being_committed_waits_for_it() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=1) as writer:
        first = asyncio.create_task(writer.apply([awarded("ann", 5)]))
        await settle()
        again = asyncio.create_task(writer.apply([awarded("ann", 5)]))
        await settle()
        assert not again.done()
        store.gate.set()
        ((answer,), (repeated,)) = await asyncio.gather(first, again)
        assert not answer.repeated
        assert repeated.repeated
        assert store.sizes == [1]


async def test_a_repeat_of_what_was_not_committed_is_decided_again() -> None:
    store, clock = Moody(), ManualClock()
    store.gate.clear()
    store.fail_before.append(Unavailable())
    async with Writer(store, Economy(), clock, max_batch=1) as writer:
        first = asyncio.create_task(writer.apply([awarded("ann", 5)]))
        await settle()
        again = asyncio.create_task(writer.apply([awarded("ann", 5)]))
        await settle()
        store.gate.set()
        await settle()
        assert not again.done()
        await clock.advance(RETRY_PAUSES_S[0])
        ((answer,), (repeated,)) = await asyncio.gather(first, again)
        assert not answer.repeated
        assert repeated.repeated
        assert store.sizes == [1]


async def test_what_stands_upon_a_commit_of_unknown_outcome_may_be_durable_before_it_is_known() -> None:
    store, clock = Moody(), ManualClock()
    store.gate.clear()
    store.fail_after.append(Unavailable())
    async with Writer(store, Economy(), clock, max_batch=1) as writer:
        first = asyncio.create_task(writer.apply([awarded("ann", 5, "first")]))
        await settle()
        second = asyncio.create_task(writer.apply([awarded("ann", 7, "second")]))
        await settle()
        store.gate.set()
        await settle()
        assert second.done()
        assert not first.done()
        await clock.advance(RETRY_PAUSES_S[0])
        ((one,), (two,)) = await asyncio.gather(first, second)
        assert one.repeated
        assert not two.repeated
        assert [account.posted for account in store.asking().accounts(["spend/ann"])] == [12]


async def test_a_look_up_that_is_older_than_three_batches_does_not_apply_an_event_twice() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=2) as writer:
        calls = [asyncio.create_task(writer.apply([awarded("ann", 5, "first")]))]
        await settle()
        ready = [awarded("ann", 5, "second"), awarded("ann", 5, "third")]
        calls.append(asyncio.create_task(writer.apply(ready)))
        await settle()
        calls.append(asyncio.create_task(writer.apply([awarded("ann", 5, "fourth")])))
        await settle()
        store.look_up_gate.clear()
        again = [asyncio.create_task(writer.apply([awarded("ann", 5, "first")]))]
        await settle()
        store.gate.set()
        await asyncio.gather(*calls)
        assert store.sizes == [1, 2, 1]
        store.look_up_gate.set()
        ((answer,),) = await asyncio.gather(*again)
        assert answer.repeated
        assert [account.posted for account in store.asking().accounts(["spend/ann"])] == [20]


@pytest.mark.parametrize("kind", ["before", "after", "look_up"])
async def test_a_failed_commit_is_tried_again_and_has_one_effect(kind: str) -> None:
    store, clock = Moody(), ManualClock()
    async with Writer(store, Economy(), clock) as writer:
        await writer.apply([opened("ann"), awarded("ann", 20 * KUDOS)])
        {"before": store.fail_before, "after": store.fail_after, "look_up": store.fail_look_up}[kind].extend(
            [Unavailable(), Unavailable()]
        )
        held_call = asyncio.create_task(writer.apply([held("g", "ann")]))
        await settle()
        # Decided upon what was then thrown away.
        paid_call = asyncio.create_task(writer.apply([settled("g", "bob")]))
        poor_call = asyncio.create_task(writer.apply([gift("ann", "bob", 8 * KUDOS)]))
        for pause in RETRY_PAUSES_S[:3]:
            await clock.advance(pause)
        (held_answer,), (paid,), (poor,) = await asyncio.gather(held_call, paid_call, poor_call)
        assert isinstance(held_answer.result, Entry)
        assert isinstance(paid.result, Entry)
        assert isinstance(poor.result, InsufficientKudos)
        assert [entry.event_id for entry in store._events[2:]] == [held_answer.result.event_id, paid.result.event_id]


async def test_a_database_that_stays_away_is_said_to_be() -> None:
    store, clock = Moody(), ManualClock()
    async with Writer(store, Economy(), clock) as writer:
        store.fail_before = [Unavailable("away") for _ in range(99)]
        call = asyncio.create_task(writer.apply([opened("ann")]))
        for pause in RETRY_PAUSES_S:
            await clock.advance(pause)
        with pytest.raises(Unavailable):
            await call
        store.fail_before = []
        (answer,) = await writer.apply([opened("ann")])
        assert not answer.repeated


async def test_a_defect_in_one_event_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    canonical = Award.canonical

    def broken(award: Award) -> str:
        return canonical(award) if award.account_id != "bad" else str(1 / 0)

    monkeypatch.setattr(Award, "canonical", broken)
    store = Moody()
    async with Writer(store, Economy(), ManualClock()) as writer:
        good, bad, after = await writer.apply([awarded("ann", 5), awarded("bad", 5), awarded("ann", 7, "more")])
        assert isinstance(good.result, Entry)
        assert isinstance(bad.result, Internal)
        assert isinstance(after.result, Entry)
        assert [account.posted for account in store.asking().accounts(["spend/ann", "spend/bad"])] == [12]


async def test_what_waits_is_bounded() -> None:
    store = Moody()
    store.gate.clear()
    async with Writer(store, Economy(), ManualClock(), max_batch=256) as writer:
        one: list[Event] = [opened("ann")]
        calls = [asyncio.create_task(writer.apply(one * 200)) for _ in range(MAX_WAITING // 200 + 2)]
        await settle()
        # Some were decided meanwhile, and made room.
        calls += [asyncio.create_task(writer.apply(one * 200)) for _ in range(4)]
        await settle()
        with pytest.raises(ResourceExhausted) as refused:
            await writer.apply(one * 200)
        assert refused.value.metadata == {"bound": "ledger.max_waiting"}
        store.gate.set()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_memory_is_bounded_and_forgotten_only_when_all_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("horde.ledger.core.journal.MAX_CACHED", 20)
    store = Moody()
    async with Writer(store, Economy(), ManualClock(), max_batch=8) as writer:
        calls = [asyncio.create_task(writer.apply([awarded(f"a{n % 60}", 1, str(n))])) for n in range(300)]
        await asyncio.gather(*calls)
        names = [f"spend/a{n}" for n in range(60)]
        assert [account.posted for account in store.asking().accounts(names)] == [5] * 60
        assert writer._journal is not None
        assert len(writer._journal._book.accounts) < 60


@pytest.mark.parametrize("defect", [KeyError("a defect"), ValueError("damaged")])
async def test_a_look_up_that_breaks_ends_the_ledger_and_nobody_waits_for_ever(defect: Exception) -> None:
    store = Moody()
    store.fail_look_up = [defect]
    store.look_up_gate.clear()
    told: list[BaseException | list[Answer]] = []
    with pytest.raises(ExceptionGroup) as ended:
        async with Writer(store, Economy(), ManualClock()) as writer:
            calls = [asyncio.create_task(writer.apply([opened(name)])) for name in ("ann", "bob")]
            try:
                await asyncio.Event().wait()
            finally:
                told = await asyncio.gather(*calls, return_exceptions=True)
    (died,) = ended.value.exceptions
    assert died.__cause__ is defect
    assert [type(error) for error in told] == [Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await writer.apply([opened("cat")])


async def test_a_writer_that_breaks_while_a_commit_is_on_its_way_leaves_nobody_waiting() -> None:
    store = Moody()
    told: list[BaseException | list[Answer]] = []
    with pytest.raises(ExceptionGroup):
        async with Writer(store, Economy(), ManualClock()) as writer:
            store.gate.clear()
            calls = [asyncio.create_task(writer.apply([opened("ann")]))]
            await settle()
            store.fail_look_up = [KeyError("a defect")]
            calls.append(asyncio.create_task(writer.apply([opened("bob")])))
            try:
                await asyncio.Event().wait()
            finally:
                told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in told] == [Unavailable, Unavailable]
