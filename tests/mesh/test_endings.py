"""However a job ends, it pays exactly what the table of the design says, and nothing stays held."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.mesh.probing import (
    CANCELLED,
    CENSORED,
    DONE,
    EXPIRED,
    FAULTED,
    Books,
    Buckets,
    assert_done_and_paid,
    eventually,
    only,
    small,
)

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.job.v1.job_pb2 import JobState
from horde.api.ledger.v1.ledger_pb2 import LedgerAccountKind, TransferCode
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.errors import InsufficientKudos, InvalidField, PriceAboveMaximum
from horde.clients.watching import ImageChanged, Progressed, Snapshot

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY_THERE = [str(uuid.uuid4())]
"""Only this worker may paint it, and it does not exist."""
DENIED = [str(uuid.uuid4())]
"""Costs a surcharge, and denies nobody who is here."""
STEPS = 30

Ending = Callable[[HordeClient], Awaitable[Generation]]


async def done(horde: HordeClient) -> Generation:
    async with horde.generation(small("a house", denied_worker_ids=DENIED)) as session:
        return await session.finish()


async def failed(horde: HordeClient) -> Generation:
    async with horde.generation(small("[fail]")) as session:
        return await session.finish()


async def refused_by_workers(horde: HordeClient) -> Generation:
    # A refusal is no attempt: it is offered again and again, ever more seldom, for as long as it may live.
    async with horde.generation(small("[refuse]", time_to_live=timedelta(seconds=2))) as session:
        return await session.finish()


async def censored(horde: HordeClient) -> Generation:
    async with horde.generation(small("[censor]")) as session:
        return await session.finish()


def misbehaving(command: str) -> Ending:
    """All workers do this to it."""

    async def end(horde: HordeClient) -> Generation:
        async with horde.generation(small(f"[{command}]")) as session:
            return await session.finish()

    return end


async def cancelled_in_the_queue(horde: HordeClient) -> Generation:
    async with horde.generation(small("a tree", allowed_worker_ids=NOBODY_THERE)) as session:
        await session.cancel()
        return await session.finish()


async def cancelled_when_leased(horde: HordeClient) -> Generation:
    async with horde.generation(small("[slow:30]")) as session:
        await _until_leased(horde, session.generation.generation_id)
        await session.cancel()
        return await session.finish()


async def cancelled_in_mid_step(horde: HordeClient) -> Generation:
    spec = small("[slow:0.1]", steps=STEPS, denied_worker_ids=DENIED)
    async with horde.generation(spec) as session:
        async for event in session.watch():
            if isinstance(event, Progressed) and event.step >= 3:
                break
        await session.cancel()
        return await session.finish()


async def expired_in_the_queue(horde: HordeClient) -> Generation:
    spec = small("a star", allowed_worker_ids=NOBODY_THERE, time_to_live=timedelta(seconds=1))
    async with horde.generation(spec) as session:
        return await session.finish()


async def expired_when_leased(horde: HordeClient) -> Generation:
    async with horde.generation(small("[slow:30]", time_to_live=timedelta(seconds=2))) as session:
        return await session.finish()


async def _until_leased(horde: HordeClient, generation_id: str) -> None:
    async for event in horde.generations.watch(generation_id):
        images: list[Image] = []
        if isinstance(event, Snapshot):
            images = list(event.generation.images)
        elif isinstance(event, ImageChanged):
            images = [event.image]
        if any(image.state == JobState.JOB_STATE_LEASED for image in images):
            return


ENDINGS: dict[str, tuple[Ending, int]] = {
    "done": (done, DONE),
    "failed": (failed, FAULTED),
    "refused_by_workers": (refused_by_workers, EXPIRED),
    "junk": (misbehaving("junk"), FAULTED),
    "truncated": (misbehaving("truncated"), FAULTED),
    "wrong_size": (misbehaving("wrong-size"), FAULTED),
    "lie": (misbehaving("lie"), FAULTED),
    "censored": (censored, CENSORED),
    "cancelled_in_the_queue": (cancelled_in_the_queue, CANCELLED),
    "cancelled_when_leased": (cancelled_when_leased, CANCELLED),
    "cancelled_in_mid_step": (cancelled_in_mid_step, CANCELLED),
    "expired_in_the_queue": (expired_in_the_queue, EXPIRED),
    "expired_when_leased": (expired_when_leased, EXPIRED),
}


def allowed(generation: Generation, image: Image) -> list[tuple[int, int, int]]:
    """What the table allows for this ending: earned by the owner, tax and surcharges burned."""
    parts = generation.quote.per_image
    price, surcharge = parts.price_mkudos, sum(surcharge.amount_mkudos for surcharge in parts.surcharges)
    if image.ending == DONE:
        return [(price, parts.tax_mkudos, surcharge)]
    if image.ending == CENSORED:
        return [(price, 0, 0)]
    if image.ending == CANCELLED:
        steps = generation.spec.job.image.steps
        return [(price * k // steps, 0, surcharge * k // steps) for k in range(steps)]
    return [(0, 0, 0)]


async def check(books: Books, generation: Generation, ending: int) -> None:
    for image in generation.images:
        assert image.ending == ending, image.ending_detail
        entry = await books.settlement_of(image.job_id)
        assert entry is not None, "an accepted job ends with exactly one settle or release"
        assert entry.settlement == image.settlement
        said = image.settlement
        assert said.ending == ending
        assert (said.earned_mkudos, said.tax_mkudos, said.surcharge_mkudos) in allowed(generation, image)
        assert said.to_spend_mkudos + said.to_escrow_mkudos == said.earned_mkudos
        assert said.from_censor_subsidy_mkudos == (said.earned_mkudos if ending == CENSORED else 0)
        left_the_hold = said.earned_mkudos + said.tax_mkudos + said.surcharge_mkudos - said.from_censor_subsidy_mkudos
        given_back = sum(
            transfer.amount_mkudos
            for transfer in entry.transfers
            if transfer.code == TransferCode.TRANSFER_CODE_RELEASE
        )
        assert left_the_hold + given_back == generation.quote.per_image.total_mkudos
        assert said.returned_mkudos == given_back
        assert said.charged_mkudos == (0 if generation.quote.facts.anonymous else left_the_hold)


@pytest.mark.parametrize("name", ENDINGS)
async def test_an_ending_pays_what_the_table_says(name: str, account: HordeClient, books: Books) -> None:
    end, ending = ENDINGS[name]
    before = (await account.accounts.show()).spend.posted_mkudos
    generation = await end(account)
    await check(books, generation, ending)
    after = (await account.accounts.show()).spend.posted_mkudos
    assert before - after == sum(image.settlement.charged_mkudos for image in generation.images)
    await books.assert_balanced()


async def test_painted_steps_are_paid_when_cancelled(account: HordeClient, books: Books) -> None:
    generation = await cancelled_in_mid_step(account)
    assert 0 < only(generation).settlement.earned_mkudos < generation.quote.per_image.price_mkudos
    assert only(generation).settlement.tax_mkudos == 0


async def test_cancel_keeps_finished_images(account: HordeClient, books: Books) -> None:
    async with account.generation(small("[slow:0.1]", count=3, steps=8)) as session:
        async for event in session.watch():
            if isinstance(event, ImageChanged) and event.image.ending == DONE:
                break
        await session.cancel()
        generation = await session.finish()
        finished = [image for image in generation.images if image.ending == DONE]
        assert finished
        for image in finished:
            assert await session.fetch(image)
    assert {image.ending for image in generation.images} <= {DONE, CANCELLED}
    await books.assert_balanced()


async def test_a_refused_request_leaves_nothing(mesh: LocalMesh, account: HordeClient, books: Books) -> None:
    async with mesh.client() as nobody:
        opened = await nobody.accounts.create("poor")
    known = [generation.generation_id async for generation in account.generations.list()]
    async with mesh.client(api_key=opened.api_key) as poor:
        with pytest.raises(InsufficientKudos):
            await poor.generations.create(small("too dear", width=4096, height=4096, steps=500, count=20))
        assert [generation async for generation in poor.generations.list()] == []
        assert (await poor.accounts.show()).spend.posted_mkudos == 0
    with pytest.raises(PriceAboveMaximum):
        await account.generations.create(small("a cat"), max_total_mkudos=1)
    with pytest.raises(InvalidField):
        await account.generations.create(small("", width=63))
    assert [generation.generation_id async for generation in account.generations.list()] == known
    await books.assert_balanced()


async def test_a_remembered_refusal_is_repeated_even_after_a_top_up(mesh: LocalMesh) -> None:
    async with mesh.client() as nobody:
        opened = await nobody.accounts.create("late")
    spec = small("too dear", width=2048, height=2048, steps=500, count=20)
    request_id = str(uuid.uuid4())
    async with mesh.client(api_key=opened.api_key) as late:
        with pytest.raises(InsufficientKudos):
            await late.generations.create(spec, request_id=request_id)
        async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
            await operator.kudos.award(opened.account.account_id, 10**12, reason="top up")
        with pytest.raises(InsufficientKudos):
            await late.generations.create(spec, request_id=request_id)
        # A new request is a new decision.
        generation = await late.generations.create(spec)
        await late.generations.cancel(generation.generation_id)
        await late.generations.finish(generation.generation_id)


async def test_any_mix_at_once_sums_to_zero(
    mesh: LocalMesh, account: HordeClient, nobody: HordeClient, books: Books
) -> None:
    chosen = random.Random(7).choices(sorted(ENDINGS), k=24)
    ran = await asyncio.gather(
        *(ENDINGS[name][0](account if number % 3 else nobody) for number, name in enumerate(chosen))
    )
    by_ending = {ending: 0 for _, ending in ENDINGS.values()}
    for name, generation in zip(chosen, ran, strict=True):
        expected = ENDINGS[name][1]
        # With all workers busy, what was to expire or be cancelled may do so elsewhere: the table is the same.
        for image in generation.images:
            by_ending[image.ending] = by_ending.get(image.ending, 0) + 1
        await check(books, generation, expected if expected != DONE else only(generation).ending)
        if expected == DONE:
            await assert_done_and_paid(books, generation)
    await books.assert_balanced()
    jobs = {image.job_id for generation in ran for image in generation.images}
    await eventually(lambda: Buckets(mesh).quarantine(jobs) == [], "an empty quarantine")
    assert (await books.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_CENSOR_SUBSIDY)).posted_mkudos < 0
