"""What is deleted when, and what is not; by a clock that moves only when told."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from horde.api.job.v1 import job_pb2
from horde.buckets.memory import MemoryBucket
from horde.buckets.port import MAX_PAGE, Entry, Head
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services import failpoints
from horde.services.errors import Unavailable
from horde.services.identity import CallerNotAllowed
from horde.storage_router.core import keys
from horde.storage_router.core.errors import InputsFull, InputUnusable, ObjectNotFound
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.pictures import Change, ImageFormat
from horde.storage_router.core.records import Content, InputRecord, digest_requester
from horde.storage_router.expiry import Sweeper
from horde.storage_router.inputs import Inputs, NamedInput
from horde.storage_router.room import Room
from horde.testkit.loopback import START, ManualClock, settle
from horde.testkit.storage_router import Job, Kit, keys_of, kit, paint, requester_message

HOUR = 3_600.0
DAY = 24 * HOUR
IMAGE = paint()
CONTENT = Content(hashlib.sha256(IMAGE).hexdigest(), len(IMAGE), ImageFormat.WEBP, 64, 64)
STORED = InputRecord(CONTENT, CONTENT.sha256, Change.NONE, digest_requester("alice"), START)
KEY = keys.input_image("alice", "input-1")
NAMED = NamedInput("input-1", CONTENT.sha256)


def room(clock: ManualClock, limit: int = 1 << 30) -> Room:
    return Room(limit, clock.monotonic, timedelta(hours=1))


async def claim(router: Kit, generation: str, requester: str = "alice") -> int:
    inputs = [job_pb2.InputImage(input_id="input-1", sha256=hashlib.sha256(IMAGE).digest())]
    request = objects.ClaimInputsRequest(
        generation_id=generation, requester=requester_message(requester), inputs=inputs
    )
    (outcome,) = (await router.orders.ClaimInputs(request)).outcomes
    return outcome.code


async def release(router: Kit, generation: str, requester: str = "alice") -> None:
    claims = [
        objects.InputClaim(generation_id=generation, requester=requester_message(requester), input_ids=["input-1"])
    ]
    (outcome,) = (await router.orders.ReleaseInputs(objects.ReleaseInputsRequest(claims=claims))).outcomes
    assert outcome.code == 0


async def test_quarantine_is_kept_for_seven_days() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.upload(Job(), IMAGE)
        await clock.advance(7 * DAY - 1)
        assert (await router.sweeper.sweep()).deleted == 0
        await clock.advance(1)
        assert (await router.sweeper.sweep()).deleted == 1
        assert await keys_of(router.private) == []


async def test_a_private_image_goes_at_its_time_and_a_shared_one_never() -> None:
    clock = ManualClock()
    private, shared = Job.numbered(1), Job.numbered(2).shared()
    async with kit(clock) as router:
        for job in (private, shared):
            await router.upload(job, IMAGE)
            await router.commit(job.commit(IMAGE))
        await clock.advance(DAY - 1)
        assert (await router.download(router.ticket(private.image_ticket_claims(IMAGE))))[1] == IMAGE
        await clock.advance(1)
        # Also before the sweeper has been there.
        with pytest.raises(ObjectNotFound):
            await router.download(router.ticket(private.image_ticket_claims(IMAGE)))
        assert (await router.sweeper.sweep()).deleted == 1
        await clock.advance(1_000 * DAY)
        await router.sweeper.sweep()
        assert await keys_of(router.private) == []
        assert len(await keys_of(router.shared)) == 2


async def test_an_input_that_nobody_claims_goes_after_its_hour() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        await clock.advance(HOUR)
        assert await claim(router, "late") == 9
        await clock.advance(300)
        await router.sweeper.sweep()
        assert await keys_of(router.private) == []


async def test_an_input_stays_while_a_generation_claims_it_and_goes_when_the_last_lets_go() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        assert [await claim(router, "first") for _ in range(2)] == [0, 0]
        await clock.advance(20 * HOUR)
        await router.sweeper.sweep()
        assert await claim(router, "second") == 0
        await release(router, "first")
        await release(router, "first")
        assert KEY in await keys_of(router.private)
        await release(router, "second")
        assert await keys_of(router.private) == []
        assert await claim(router, "third") == 9


async def test_an_input_goes_with_the_last_generation_that_used_it_and_not_an_hour_later() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        assert [await claim(router, name) for name in ("first", "second")] == [0, 0]
        await release(router, "first")
        assert await claim(router, "third") == 0
        await release(router, "second")
        await release(router, "third")
        assert await keys_of(router.private) == []
        assert await router.private.page(keys.CLAIMED) == []
        assert await claim(router, "fourth") == 9
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        assert await claim(router, "fifth") == 0


async def test_another_requesters_input_of_the_same_id_is_another_input() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        await router.put_input(router.input_ticket("input-1", "bob"), paint(seed=1))
        assert await claim(router, "first") == 0
        await release(router, "first", "bob")
        assert KEY in await keys_of(router.private)
        await release(router, "first")
        assert await keys_of(router.private) == [keys.input_image("bob", "input-1")]


async def test_a_claim_that_nobody_releases_ends_after_25_hours() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        assert await claim(router, "lost") == 0
        await clock.advance(25 * HOUR - 1)
        await router.sweeper.sweep()
        assert len(await keys_of(router.private)) == 2
        await clock.advance(1)
        await router.sweeper.sweep()
        assert await keys_of(router.private) == []


@pytest.mark.parametrize(
    "point",
    [
        "storage.inputs.after_claim",
        "storage.inputs.after_sign",
        "storage.inputs.after_release",
        "storage.input.after_put",
        "storage.input.after_open",
    ],
)
async def test_inputs_survive_a_failure_at_each_point(point: str) -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        failpoints.arm(f"{point}=error@1")
        try:
            if point.startswith("storage.input."):
                # Always, as the channel tries again by itself.
                failpoints.arm(f"{point}=error")
                with pytest.raises(Unavailable):
                    await router.put_input(router.input_ticket("input-1"), IMAGE)
                failpoints.arm("")
            await router.put_input(router.input_ticket("input-1"), IMAGE)
            first = await claim(router, "first")
            assert first == (14 if point in ("storage.inputs.after_claim", "storage.inputs.after_sign") else 0)
            assert await claim(router, "first") == 0
            await clock.advance(2 * HOUR)
            if point == "storage.inputs.after_release":
                claims = [
                    objects.InputClaim(
                        generation_id="first", requester=requester_message("alice"), input_ids=["input-1"]
                    )
                ]
                answer = await router.orders.ReleaseInputs(objects.ReleaseInputsRequest(claims=claims))
                assert answer.outcomes[0].code == 14
            await release(router, "first")
            assert await keys_of(router.private) == []
        finally:
            failpoints.arm("")


class Interleaving(MemoryBucket):
    """A bucket in which the calls of each task wait for their turn, in an order that a test chooses."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock.now)
        self.turns: dict[str, asyncio.Semaphore] = {}

    async def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, media_type: str = ""
    ) -> bool:
        await self._turn()
        return await super().put(key, data, metadata=metadata, media_type=media_type)

    async def head(self, key: str) -> Head | None:
        await self._turn()
        return await super().head(key)

    async def delete(self, key: str) -> None:
        await self._turn()
        await super().delete(key)

    async def page(self, prefix: str, *, after: str = "", limit: int = MAX_PAGE) -> Sequence[Entry]:
        await self._turn()
        return await super().page(prefix, after=after, limit=limit)

    async def _turn(self) -> None:
        task = asyncio.current_task()
        if task is not None and (turn := self.turns.get(task.get_name())):
            await turn.acquire()


@pytest.mark.parametrize("hours", [0, 2])
@pytest.mark.parametrize("order", sorted(set(itertools.permutations("ccccrrrr"))))
async def test_a_claim_that_was_granted_holds_however_it_meets_a_release(order: tuple[str, ...], hours: int) -> None:
    clock = ManualClock()
    bucket = Interleaving(clock)
    inputs = Inputs(bucket, clock.now, room(clock))
    await inputs.store("alice", "input-1", STORED, IMAGE)
    await inputs.claim("first", "alice", NAMED)
    clock.jump(hours * HOUR)
    bucket.turns = {"c": asyncio.Semaphore(0), "r": asyncio.Semaphore(0)}
    tasks = {
        "c": asyncio.create_task(inputs.claim("second", "alice", NAMED), name="c"),
        "r": asyncio.create_task(inputs.release("first", "alice", ["input-1"]), name="r"),
    }
    for name in (*order, *"crcrcrcrcrcrcrcr"):
        bucket.turns[name].release()
        await settle(5)
    outcome = (await asyncio.gather(*tasks.values(), return_exceptions=True))[0]
    if outcome is None:
        assert (await inputs.describe("alice", NAMED)) == STORED
    else:
        assert isinstance(outcome, InputUnusable)
        await inputs.expire(KEY)
        assert bucket.keys() == []


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("aaabbb"))))
async def test_a_claim_that_is_asked_for_twice_at_once_is_granted_once(order: tuple[str, ...]) -> None:
    clock = ManualClock()
    bucket = Interleaving(clock)
    inputs = Inputs(bucket, clock.now, room(clock))
    await inputs.store("alice", "input-1", STORED, IMAGE)
    bucket.turns = {"a": asyncio.Semaphore(0), "b": asyncio.Semaphore(0)}
    twins = [asyncio.create_task(inputs.claim("first", "alice", NAMED), name=name) for name in "ab"]
    for name in (*order, *"ababab"):
        bucket.turns[name].release()
        await settle(5)
    assert await asyncio.gather(*twins) == [None, None]
    clock.jump(2 * HOUR)
    assert await inputs.describe("alice", NAMED) == STORED
    await inputs.release("first", "alice", ["input-1"])
    assert bucket.keys() == []


async def test_a_claim_that_comes_when_its_generation_is_over_leaves_nothing_that_is_kept() -> None:
    clock = ManualClock()
    bucket = Interleaving(clock)
    inputs = Inputs(bucket, clock.now, room(clock))
    await inputs.store("alice", "input-1", STORED, IMAGE)
    bucket.turns = {"late": asyncio.Semaphore(1)}
    late = asyncio.create_task(inputs.claim("first", "alice", NAMED), name="late")
    await settle(5)  # It has found the input.
    await inputs.claim("first", "alice", NAMED)
    await inputs.release("first", "alice", ["input-1"])
    for _ in range(6):
        bucket.turns["late"].release()
    with pytest.raises(InputUnusable):
        await late
    assert bucket.keys() == [keys.claimed("alice", "input-1")], "a sign alone, which the sweeper takes"


class WatchedBucket(MemoryBucket):
    """Notes how large the pages are that it is asked for."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.pages: list[int] = []

    async def walk(self, folder: str, size: int = MAX_PAGE) -> AsyncIterator[Sequence[Entry]]:
        async for page in super().walk(folder, size):
            self.pages.append(len(page))
            yield page


async def test_a_round_goes_on_page_after_page_until_nothing_due_is_left_and_others_have_their_turns() -> None:
    clock = ManualClock()
    bucket = WatchedBucket(clock.now)
    sweeper = Sweeper(bucket, Inputs(bucket, clock.now, room(clock)), Partials(0, clock.monotonic), clock, page=10)
    for number in range(25):
        await bucket.put(f"quarantine/job/{number:02}", b"x")
    await clock.advance(8 * DAY)
    for number in range(15):
        await bucket.put(f"quarantine/job/{number:02}-fresh", b"x")
    turns: list[int] = []

    async def another() -> None:
        while True:
            turns.append(len(bucket.pages))
            await asyncio.sleep(0)

    beside = asyncio.create_task(another())
    assert (await sweeper.sweep()).deleted == 25
    beside.cancel()
    await asyncio.gather(beside, return_exceptions=True)
    assert bucket.keys() == [f"quarantine/job/{number:02}-fresh" for number in range(15)]
    assert max(bucket.pages) == 10
    assert {1, 2, 3, 4} <= set(turns)
    assert sum(bucket.pages) == 40, "each object is looked at once"


async def test_signs_of_an_earlier_release_go_as_those_of_this_one_do() -> None:
    clock = ManualClock()
    bucket = WatchedBucket(clock.now)
    sweeper = Sweeper(bucket, Inputs(bucket, clock.now, room(clock)), Partials(0, clock.monotonic), clock)
    await bucket.put("closed/job/old", b"")
    await clock.advance(2 * HOUR)
    await bucket.put("closed/job/late", b"")
    await clock.advance(DAY)
    assert (await sweeper.sweep()).deleted == 1
    assert bucket.keys() == ["closed/job/late"]


async def test_inputs_are_refused_while_all_together_take_as_much_room_as_they_may() -> None:
    clock = ManualClock()
    limit = 40 * len(IMAGE)
    async with kit(clock, max_stored_input_bytes=limit) as router:

        async def put(number: int, requester: str) -> None:
            await router.put_input(router.input_ticket(f"input-{number}", requester), IMAGE)

        async def fill(requester: str) -> int:
            """How many inputs of one requester are taken."""
            number = 0
            with pytest.raises(InputsFull) as caught:
                while True:
                    await put(number + 1, requester)
                    number += 1
            assert caught.value.metadata == {"limit": str(limit), "of": "requester"}
            assert caught.value.retry_after == timedelta(minutes=1)
            return number

        assert 3 <= await fill("alice") <= 6
        for number in range(8):
            await fill(f"greedy-{number}")
        # However many came before, the next one finds a place; and what workers bring has nothing to do with it.
        await put(1, "bob")
        await put(1, "alice")
        assert await router.upload(Job(), IMAGE)
        await clock.advance(HOUR + 300)
        await router.sweeper.sweep()
        assert 3 <= await fill("alice") <= 6


async def test_strangers_of_one_address_share_and_leave_room_for_accounts() -> None:
    clock = ManualClock()
    full = room(clock, 1_000)
    strangers = [keys.requester_in(keys.input_image(f"anonymous:{number:064x}", "i")) for number in range(2_000)]
    account = keys.requester_in(keys.input_image("alice", "i"))
    with pytest.raises(InputsFull) as caught:
        for stranger in strangers:
            full.take(stranger, 1, "192.0.2.0/24")
    assert caught.value.metadata["of"] == "address"
    assert full.used == 111
    full.take(strangers[-1], 1, "198.51.100.0/24")
    with pytest.raises(InputsFull):
        for number, stranger in enumerate(strangers):
            full.take(stranger, 1, f"10.0.{number}.0/24")
    assert full.used == 750
    full.take(account, 25)
    # What strangers of an address brought counts for as long as it may stay, wherever it is by then.
    await clock.advance(HOUR)
    full.count().finish()
    full.take(strangers[0], 50, "192.0.2.0/24")


async def test_room_is_counted_in_the_bucket_and_not_only_in_this_process() -> None:
    clock = ManualClock()
    bucket = MemoryBucket(clock.now)
    for number in range(MAX_PAGE + 1):
        await bucket.put(keys.input_image(f"somebody-{number}", "i"), b"x")
    size = MAX_PAGE + 1 + 30 * len(IMAGE)
    here, there = (Inputs(bucket, clock.now, room(clock, size)) for _ in range(2))
    await here.store("alice", "input-1", STORED, IMAGE)
    assert here.room.used == MAX_PAGE + 1 + len(IMAGE)
    await there.store("alice", "input-2", STORED, IMAGE)
    assert here.room.used == MAX_PAGE + 1 + len(IMAGE)
    await Sweeper(bucket, here, Partials(0, clock.monotonic), clock).sweep()
    assert here.room.used == MAX_PAGE + 1 + 2 * len(IMAGE)


async def test_what_is_stored_while_inputs_are_counted_is_not_forgotten() -> None:
    full = room(ManualClock(), 1_000)
    full.take("account-a", 3)
    count = full.count()
    full.take("account-a", 4)
    count.add("account-a", 3)
    count.finish()
    assert full.used == 7
    full.give_back("account-a", 100)
    assert full.used == 0


async def test_a_release_that_broke_off_is_finished_by_the_sweeper() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        assert await claim(router, "first") == 0
        await router.private.delete(keys.claim("alice", "input-1", "first"))
        await clock.advance(299)
        await router.sweeper.sweep()
        assert KEY in await keys_of(router.private)
        await clock.advance(1)
        await router.sweeper.sweep()
        assert await keys_of(router.private) == []
        assert await router.private.page(keys.CLAIMED) == []


async def test_a_discarded_lease_is_remembered_for_longer_than_any_grant_lives() -> None:
    clock = ManualClock()
    bucket = MemoryBucket(clock.now)
    sweeper = Sweeper(bucket, Inputs(bucket, clock.now, room(clock)), Partials(0, clock.monotonic), clock)
    await bucket.put("quarantine/job/lease", b"")
    await clock.advance(DAY + 600)
    assert (await sweeper.sweep()).deleted == 0
    await clock.advance(2 * HOUR)
    assert (await sweeper.sweep()).deleted == 1


async def test_the_sweeper_goes_on_after_the_store_was_away() -> None:
    clock = ManualClock()
    async with kit(clock) as router:
        await router.upload(Job(), IMAGE)
        running = asyncio.create_task(router.sweeper.run(timedelta(hours=12)))
        failpoints.arm("storage.expiry.before_delete=error@1")
        try:
            await clock.advance(8 * DAY)
        finally:
            failpoints.arm("")
        await clock.advance(HOUR * 12)
        assert await keys_of(router.private) == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_input_is_deleted_when_asked_unless_a_generation_uses_it() -> None:
    clock = ManualClock()
    bucket = MemoryBucket(clock.now)

    async def delete(router: Kit, requester: str, *input_ids: str) -> list[int]:
        request = objects.DeleteInputsRequest(requester=requester_message(requester), input_ids=input_ids)
        return [outcome.code for outcome in (await router.orders.DeleteInputs(request)).outcomes]

    async with kit(clock, private=bucket) as scheduling, kit(clock, private=bucket, caller="gateway") as asking:
        await asking.put_input(asking.input_ticket("input-1"), IMAGE)
        assert await claim(scheduling, "first") == 0
        assert await delete(asking, "bob", "input-1") == [0]
        assert await delete(asking, "alice", "input-1", "input-2", "a/b") == [9, 0, 3]
        assert KEY in await keys_of(bucket)
        await release(scheduling, "first")
        await asking.put_input(asking.input_ticket("input-1"), IMAGE)
        assert await delete(asking, "alice", "input-1") == [0]
        assert await keys_of(bucket) == []
        assert await bucket.page(keys.CLAIMED) == []
        with pytest.raises(CallerNotAllowed):
            await delete(scheduling, "alice", "input-1")


async def test_a_requesters_inputs_are_forgotten_and_nobody_elses() -> None:
    clock = ManualClock()
    bucket = MemoryBucket(clock.now)

    async def forget(router: Kit, requester: str) -> int:
        request = objects.ForgetRequesterRequest(requester=requester_message(requester))
        return int((await router.orders.ForgetRequester(request)).left)

    async with kit(clock, private=bucket) as scheduling, kit(clock, private=bucket, caller="gateway") as asking:
        for name in ("input-1", "input-2", "input-3"):
            await asking.put_input(asking.input_ticket(name), IMAGE)
        assert await claim(scheduling, "first") == 0
        assert await forget(asking, "bob") == 0
        assert len(await bucket.page(keys.INPUTS)) == 3
        assert await forget(asking, "alice") == 1
        assert [entry.key for entry in await bucket.page(keys.INPUTS)] == [KEY]
        await release(scheduling, "first")
        assert await forget(asking, "alice") == 0
        assert await keys_of(bucket) == []
        with pytest.raises(CallerNotAllowed):
            await forget(scheduling, "alice")
