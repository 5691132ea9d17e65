"""What a ledger promises, on each of its stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from horde.ledger.core.accounts import ANONYMOUS, AccountKind
from horde.ledger.core.chain import leaf_hash, root_of_path
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry
from horde.ledger.core.errors import (
    EntryNotFound,
    EventConflict,
    HoldNotFound,
    InsufficientKudos,
    LimitReached,
    WriterReplaced,
)
from horde.ledger.core.journal import Answer, Journal
from horde.ledger.core.operations import Event
from horde.ledger.store.port import Batch, Head, LedgerStore
from horde.ledger.writer import Writer
from horde.services.errors import Aborted, Unavailable
from horde.testkit.ledger import awarded, gift, held, opened, released, settled, some_id, standing
from horde.testkit.loopback import ManualClock, settle


async def test_a_job_is_held_and_paid(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), held("g", "ann"))
    assert await ledger.posted("ann") == 87 * KUDOS
    answer = await ledger.one(settled("g", "bob"))
    assert isinstance(answer.result, Entry)
    assert answer.result.settlement is not None
    assert answer.result.settlement.to_escrow == 5 * KUDOS
    assert await ledger.posted("bob") == 5 * KUDOS
    assert await ledger.posted("bob", AccountKind.ESCROW) == 5 * KUDOS
    assert await ledger.posted("", AccountKind.TAX_BURN) == 3 * KUDOS
    assert await ledger.posted("", AccountKind.HELD) == 0


async def test_a_balance_says_whether_its_owner_is_trusted(ledger: Any) -> None:
    async def trusted() -> list[bool]:
        wanted = [(kind, who) for who in ("bob", "nobody") for kind in (AccountKind.SPEND, AccountKind.ESCROW)]
        return [balance.owner_trusted for balance in (await ledger.service.balances(wanted, 0)).balances]

    await ledger.apply(opened("bob"))
    assert await trusted() == [False, False, False, False]
    await ledger.apply(standing("bob", trusted=True))
    assert await trusted() == [True, False, False, False]
    await ledger.apply(standing("bob", trusted=False, name="again"))
    assert await trusted() == [False, False, False, False]


async def test_the_sum_is_zero_and_the_audit_agrees(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), held("g", "ann", count=3), held("h", ANONYMOUS))
    await ledger.apply(settled("g", "bob"), released("g", 1), settled("h", "bob"))
    read = await ledger.service.balances([(AccountKind.SPEND, "ann")], 0)
    assert read.sum_mkudos == 0
    assert read.balances[0].held == 13 * KUDOS
    report = await ledger.service.audit(0)
    assert report.finding is None
    assert (report.blocks, report.entries, report.sum_mkudos) == (2, 7, 0)


async def test_a_repeated_event_has_the_first_answer(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), held("g", "ann"))
    first = await ledger.one(settled("g", "bob"))
    again, within = await ledger.apply(settled("g", "bob"), settled("g", "bob"))
    assert not first.repeated
    assert again.repeated
    assert within.repeated
    assert first.result == again.result == within.result
    assert await ledger.posted("bob") == 5 * KUDOS


async def test_a_refusal_is_remembered(ledger: Any) -> None:
    await ledger.apply(opened("ann"))
    refused = await ledger.one(held("g", "ann", count=10))
    assert isinstance(refused.result, InsufficientKudos)
    assert refused.result.metadata == {"available_mkudos": "60000", "needed_mkudos": "130000"}
    await ledger.apply(awarded("ann", 1000 * KUDOS))
    again = await ledger.one(held("g", "ann", count=10))
    assert again.repeated
    assert isinstance(again.result, InsufficientKudos)
    assert again.result.metadata == refused.result.metadata
    assert await ledger.posted("ann") == 1000 * KUDOS
    assert (await ledger.service.audit(0)).finding is None


async def test_limits_on_gifts_outlive_the_writer(store: LedgerStore) -> None:
    clock = ManualClock()
    economy = Economy(gifts_per_day=3, gift_per_day_mkudos=50 * KUDOS)
    # To LIKE, `a_b` means `axb` too; and a note may look like another gift.
    note = '{"kind":"GIFT","op":{"amount":5,"from":"bob","'
    async with Writer(store, economy, clock) as writer:
        await writer.apply([awarded(who, 100 * KUDOS) for who in ("a_b", "axb", "bob")])
        await writer.apply([gift("a_b", "bob", 30 * KUDOS, note=note), gift("axb", "bob", KUDOS)])
    async with Writer(store, economy, clock) as writer:
        back, other, large, *given, fourth = await writer.apply(
            [
                gift("bob", "a_b", KUDOS), gift("bob", "cat", KUDOS), gift("a_b", "cat", 21 * KUDOS, "large"),
                gift("a_b", "cat", 10 * KUDOS), gift("a_b", "dan", KUDOS), gift("a_b", "eve", KUDOS),
            ]
        )  # fmt: skip
        assert limit_of(back) == "gift_back_after_us"
        assert limit_of(large) == "gift_per_day_mkudos"
        assert limit_of(fourth) == "gifts_per_day"
        assert [type(each.result) for each in (other, *given)] == [Entry] * 3
        await clock.advance(61)
        (later,) = await writer.apply([gift("bob", "a_b", KUDOS, "later")])
        assert isinstance(later.result, Entry)
    async with Writer(store, economy, clock) as writer:
        (refused,) = await writer.apply([gift("a_b", "fay", KUDOS)])
        assert limit_of(refused) == "gifts_per_day"
    await clock.advance(86_400)
    async with Writer(store, economy, clock) as writer:
        (next_day,) = await writer.apply([gift("a_b", "fay", KUDOS, "next day")])
        assert isinstance(next_day.result, Entry)


def limit_of(answer: Answer) -> str:
    assert isinstance(answer.result, LimitReached), answer.result
    return answer.result.metadata["limit"]


async def test_other_content_under_the_same_id_names_the_field(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), held("g", "ann"), settled("g", "bob"))
    for other, field in (
        (settled("g", "cat"), "settle.owner_account_id"),
        (settled("g", "bob", earned=1), "settle.earned_mkudos"),
        (released("g"), "operation"),
        (held("g", "bob"), "place_holds.payer.account_id"),
        (held("g", "ann", count=2), "place_holds.holds"),
        (awarded("ann", 5), "award.amount_mkudos"),
    ):
        answer = await ledger.one(other)
        assert isinstance(answer.result, EventConflict)
        assert answer.result.metadata == {"field": field}


async def test_what_is_refused_by_the_state_of_a_hold_may_come_later(ledger: Any) -> None:
    assert isinstance((await ledger.one(released("g"))).result, HoldNotFound)
    await ledger.apply(opened("ann"), held("g", "ann"))
    assert isinstance((await ledger.one(released("g"))).result, Entry)


async def test_statements_have_pages_newest_first(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 500 * KUDOS))
    await ledger.apply(*(held(f"g{i}", "ann") for i in range(5)))
    await ledger.apply(*(settled(f"g{i}", "bob") for i in range(5)))
    sequences, token = [], ""
    while True:
        entries, token = await ledger.service.statement("ann", 5, token, 0)
        sequences += [entry.sequence for entry in entries]
        if not token:
            break
    assert sequences == list(range(12, 0, -1))
    entries, _ = await ledger.service.statement("bob", 0, "", 0)
    assert [entry.sequence for entry in entries] == [12, 11, 10, 9, 8]
    assert await ledger.service.statement("nobody", 0, "", 0) == ([], "")


async def test_an_entry_is_proven_to_be_in_its_block(ledger: Any) -> None:
    events = [opened("ann"), awarded("ann", 500 * KUDOS), held("g", "ann", count=100), gift("ann", "bob", 5 * KUDOS)]
    for size in (1, 2, 3, 4):
        await ledger.apply(*[awarded("ann", 1, f"{size} {i}") for i in range(size - 1)], *events[:size])
    for event in events[:2]:
        proof = await ledger.service.prove(event.event_id)
        assert root_of_path(leaf_hash(proof.canonical), proof.path) == proof.block.merkle_root
        assert proof.entry.event_id == event.event_id
    with pytest.raises(EntryNotFound):
        await ledger.service.prove(events[2].event_id)
    with pytest.raises(EntryNotFound):
        await ledger.service.prove("nonsense")


async def test_entries_are_read_by_id(ledger: Any) -> None:
    await ledger.apply(opened("ann"), held("g", "ann", count=50))
    known, refused, unknown, nonsense = await ledger.service.entries(
        [opened("ann").event_id, held("g", "ann").event_id, some_id("never"), "nonsense"]
    )
    assert isinstance(known.result, Entry)
    assert isinstance(refused.result, InsufficientKudos)
    assert isinstance(unknown.result, EntryNotFound)
    assert isinstance(nonsense.result, EntryNotFound)


async def test_a_writer_that_was_replaced_writes_no_more(store: LedgerStore) -> None:
    clock = ManualClock()
    opened_old: asyncio.Future[Writer] = asyncio.get_running_loop().create_future()

    async def old_term() -> None:
        async with Writer(store, Economy(), clock) as writer:
            opened_old.set_result(writer)
            await asyncio.Event().wait()

    term = asyncio.create_task(old_term())
    old = await opened_old
    await old.apply([opened("ann")])
    async with Writer(store, Economy(), clock) as new:
        with pytest.raises(WriterReplaced):
            await old.apply([awarded("ann", KUDOS)])
        with pytest.raises(ExceptionGroup) as ended:
            await term
        assert isinstance(ended.value.exceptions[0].__cause__, WriterReplaced)
        with pytest.raises(WriterReplaced):
            await old.apply([awarded("ann", KUDOS)])
        (answer,) = await new.apply([awarded("ann", KUDOS)])
        assert isinstance(answer.result, Entry)
        assert answer.result.sequence == 2


async def made_upon(store: LedgerStore, head: Head, *events: Event) -> Batch:
    """A batch of these events, made upon a head that may not be there yet."""
    journal = Journal(Economy(), head)
    known = await store.look_up(lambda ask: journal.look_up(ask, events, 1))
    journal.learn(known)
    for event in events:
        assert isinstance(journal.decide(event, known, 1).result, Entry)
    batch = journal.seal()
    assert batch is not None
    store.encode(batch)
    return batch


async def test_batches_that_are_given_at_once_are_written_one_after_the_other(store: LedgerStore) -> None:
    start = await store.take_over()
    rich = await made_upon(store, start, *[awarded(each, 99 * KUDOS) for each in ("ann", "bob", "eve", "dan")])
    await store.write(start, rich)
    one = await made_upon(store, rich.head, gift("ann", "bob", KUDOS))
    two = await made_upon(store, one.head, gift("eve", "dan", KUDOS))
    await asyncio.gather(store.write(rich.head, one), store.write(one.head, two))
    assert await store.head() == two.head
    assert [event.event_id for event in await store.entries_after(rich.head.sequence, 9)] == [
        row.event_id for batch in (one, two) for row in batch.entries
    ]
    read = await store.balances([(f"spend/{each}", "") for each in ("ann", "bob", "eve", "dan")])
    assert [row.account.posted // KUDOS for row in read.rows if row.account] == [98, 100, 98, 100]


async def test_what_stands_behind_a_batch_that_was_not_written_is_not_written(store: LedgerStore) -> None:
    start = await store.take_over()
    await store.write(start, ahead := await made_upon(store, start, awarded("eve", 1)))
    one = await made_upon(store, start, awarded("ann", 5))
    two = await made_upon(store, one.head, awarded("bob", 7))
    outcomes = await asyncio.gather(store.write(start, one), store.write(one.head, two), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Aborted, Aborted]
    assert await store.head() == ahead.head
    assert len(await store.entries_after(0, 9)) == 1
    eve, ann = (await store.balances([("spend/eve", ""), ("spend/ann", "")])).rows
    assert eve.account is not None
    assert ann.account is None
    await store.take_over()
    with pytest.raises(WriterReplaced):
        await store.write(ahead.head, await made_upon(store, ahead.head, awarded("ann", 5)))


async def test_a_new_writer_goes_on_where_the_old_one_stopped(store: LedgerStore) -> None:
    clock = ManualClock()
    async with Writer(store, Economy(), clock) as first:
        await first.apply([opened("ann"), awarded("ann", 20 * KUDOS), held("g", "ann"), standing("bob", trusted=True)])
    async with Writer(store, Economy(), clock) as second:
        settle, repeat, late = await second.apply(
            [settled("g", "bob"), held("g", "ann"), gift("bob", "ann", 10 * KUDOS)]
        )
    assert isinstance(settle.result, Entry)
    assert settle.result.settlement is not None
    assert settle.result.settlement.to_spend == 10 * KUDOS
    assert repeat.repeated
    assert isinstance(late.result, Entry)


async def test_the_feed_has_every_entry_once_and_goes_on(ledger: Any) -> None:
    await ledger.apply(opened("ann"), awarded("ann", 20 * KUDOS), held("g", "ann", count=99))
    feed = ledger.service.follow(0)
    assert [entry.sequence for entry in await anext(feed)] == [1, 2]
    await ledger.apply(awarded("ann", 1, "more"), held("h", "ann"))
    assert [entry.sequence for entry in await anext(feed)] == [3, 4]
    await feed.aclose()
    resumed = ledger.service.follow(3)
    assert [entry.sequence for entry in await anext(resumed)] == [4]
    await resumed.aclose()


async def test_a_read_waits_for_what_its_caller_has_written(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await ledger.apply(opened("ann"))
    reading = asyncio.create_task(ledger.service.balances([(AccountKind.SPEND, "ann")], 2))
    await settle()
    assert not reading.done()
    await ledger.apply(awarded("ann", 5 * KUDOS))
    assert (await reading).balances[0].posted == 5 * KUDOS
    monkeypatch.setattr("horde.ledger.doors.service.READ_YOUR_WRITES_WAIT_S", 0.01)
    with pytest.raises(Unavailable):
        await ledger.service.statement("ann", 0, "", 99)
