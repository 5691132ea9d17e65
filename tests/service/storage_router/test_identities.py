"""Nobody gets what is another's: images, inputs, and the knowledge that they are there."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services.errors import ServiceError
from horde.services.tokens import TokenExpired, TokenForged, TokenMalformed, TokenWrongAudience, Verifier
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ContentConflict, ObjectNotFound
from horde.storage_router.core.placement import PlacementFacts
from horde.storage_router.doors.permits import AUDIENCE, LEEWAY
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import LIFETIME, Job, Kit, keys_of, kit, make_signer, paint, requester_message

ALICE, BOB = "alice", "bob"
ANN, ANDY = f"anonymous:{'11' * 32}", f"anonymous:{'22' * 32}"
IMAGE = paint()
PRIVATE = PlacementFacts(anonymous=False, asked=False, has_input=False, consent_text_version="2026-11")
ANONYMOUS_WITH_INPUT = PlacementFacts(anonymous=True, asked=False, has_input=True, consent_text_version="2026-11")


def named(input_id: str, image: bytes = IMAGE) -> job_pb2.InputImage:
    return job_pb2.InputImage(input_id=input_id, sha256=hashlib.sha256(image).digest())


async def describe(router: Kit, requester: str, *inputs: job_pb2.InputImage) -> list[bool]:
    """Whether each is this requester's."""
    request = objects.DescribeInputsRequest(requester=requester_message(requester), inputs=inputs)
    answer = await router.orders.DescribeInputs(request)
    return [outcome.HasField("input") for outcome in answer.outcomes]


@pytest.mark.parametrize(("owner", "other", "facts"), [(ALICE, BOB, PRIVATE), (ANN, ANDY, ANONYMOUS_WITH_INPUT)])
async def test_a_private_image_is_its_requesters_alone(owner: str, other: str, facts: PlacementFacts) -> None:
    job = Job(requester=owner, facts=facts)
    async with kit(ManualClock()) as router:
        await router.upload(job, IMAGE)
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.HasField("committed")
        claims = job.image_ticket_claims(IMAGE)
        assert (await router.download(router.ticket(claims)))[1] == IMAGE
        # Even a ticket that the gateway signed by mistake opens nothing of another's.
        wrong: list[dict[str, Any]] = [
            {"requester": other},
            {"requester": "anonymous"},
            {"job_id": Job.numbered(9).job_id},
            {"sha256": "00" * 32},
            {"object_name": "f" * 32},
            {"placement": "SHARED"},
        ]
        for change in wrong:
            for call in (
                router.download(router.ticket({**claims, **change})),
                router.door.CreateLink(storage.CreateLinkRequest(ticket=router.ticket({**claims, **change}))),
            ):
                with pytest.raises(ObjectNotFound):
                    await call


async def test_tickets_that_do_not_hold_open_nothing() -> None:
    job = Job()
    async with kit(ManualClock()) as router:
        await router.upload(job, IMAGE)
        await router.commit(job.commit(IMAGE))
        claims = job.image_ticket_claims(IMAGE)
        now = router.clock.now()
        tickets: list[tuple[type[ServiceError], str]] = [
            (TokenExpired, router.gateway.sign(AUDIENCE, claims, LIFETIME, now - LIFETIME - LEEWAY)),
            (TokenWrongAudience, router.gateway.sign("scheduler", claims, LIFETIME, now)),
            (TokenWrongAudience, router.scheduler.sign(AUDIENCE, claims, LIFETIME, now)),
            (TokenWrongAudience, router.input_ticket("input-1")),
            (TokenForged, router.ticket(claims)[:-20] + "A" * 20),
        ]
        for error, ticket in tickets:
            with pytest.raises(error):
                await router.download(ticket)


async def test_what_is_still_in_quarantine_cannot_be_read() -> None:
    job = Job()
    async with kit(ManualClock()) as router:
        await router.upload(job, IMAGE)
        for name in (job.object_name, job.lease_id, f"{job.job_id}"):
            with pytest.raises(ObjectNotFound):
                await router.download(router.ticket({**job.image_ticket_claims(IMAGE), "object_name": name}))


@pytest.mark.parametrize(("owner", "other"), [(ALICE, BOB), (ANN, ANDY)])
async def test_an_input_is_its_requesters_alone(owner: str, other: str) -> None:
    async with kit(ManualClock()) as router:
        stored = await router.put_input(router.input_ticket("input-1", owner), IMAGE)
        assert (stored.width, stored.height, stored.size_bytes) == (64, 64, len(IMAGE))
        assert await router.put_input(router.input_ticket("input-1", owner), IMAGE) == stored
        with pytest.raises(ContentConflict):
            await router.put_input(router.input_ticket("input-1", owner), paint(seed=1))
        assert await describe(router, owner, named("input-1"), named("input-2")) == [True, False]
        assert await describe(router, other, named("input-1")) == [False]
        assert await describe(router, owner, named("input-1", paint(seed=1))) == [False]
        claim = objects.ClaimInputsRequest(
            generation_id="generation-1", requester=requester_message(other), inputs=[named("input-1")]
        )
        (outcome,) = (await router.orders.ClaimInputs(claim)).outcomes
        assert outcome.code == 9
        mine = await router.put_input(router.input_ticket("input-1", other), paint(seed=1))
        assert mine.sha256 == hashlib.sha256(paint(seed=1)).digest()
        assert await describe(router, owner, named("input-1")) == [True]
        assert len(await keys_of(router.private)) == 2


@pytest.mark.parametrize("plain", [False, True], ids=["sealed", "as before"])
async def test_the_holder_of_a_lease_reads_the_input_it_has_a_ticket_for_and_no_other(plain: bool) -> None:
    reader = make_signer(AUDIENCE)
    verifier = Verifier({reader.key_id: reader.public_key()})

    def whose(requester: str, lease_id: str = "1.1") -> object:
        part = keys.whose(requester)
        return (
            part
            if plain
            else verifier.seal(part.encode(), AUDIENCE, f"{lease_id} input-1".encode(), ManualClock().now())
        )

    async with kit(ManualClock()) as router:
        await router.put_input(router.input_ticket("input-1"), IMAGE)
        await router.put_input(router.input_ticket("input-2"), paint(seed=1))
        claims = {
            "act": "get_input",
            "input_id": "input-1",
            "sha256": hashlib.sha256(IMAGE).hexdigest(),
            "whose": whose("alice"),
            "lease_id": "1.1",
        }
        ticket = router.scheduler.sign(AUDIENCE, claims, LIFETIME, router.clock.now())
        header, data = await router.download(ticket)
        assert (data, header.sha256) == (IMAGE, hashlib.sha256(IMAGE).digest())
        for other in ({"input_id": "input-2"}, {"whose": whose("bob")}, {"sha256": "00" * 32}):
            # What is sealed is sealed for one input.
            with pytest.raises(TokenMalformed if "input_id" in other and not plain else ObjectNotFound):
                await router.download(
                    router.scheduler.sign(AUDIENCE, {**claims, **other}, LIFETIME, router.clock.now())
                )
        with pytest.raises(ObjectNotFound):
            await router.door.CreateLink(storage.CreateLinkRequest(ticket=ticket))
        if not plain:
            for bad in (whose("alice", "1.2"), {"another": "key"}, {}, {reader.key_id: 7}):
                forged = router.scheduler.sign(AUDIENCE, {**claims, "whose": bad}, LIFETIME, router.clock.now())
                with pytest.raises(TokenMalformed):
                    await router.download(forged)


async def test_no_name_of_a_requester_is_written_anywhere() -> None:
    job = Job(requester="alice-in-wonderland").shared()
    private = Job.numbered(7, requester="alice-in-wonderland")
    async with kit(ManualClock()) as router:
        await router.put_input(router.input_ticket("input-1", "alice-in-wonderland"), IMAGE)
        for each in (job, private):
            await router.upload(each, IMAGE)
            await router.commit(each.commit(IMAGE))
        for bucket in (router.private, router.shared):
            for key in await keys_of(bucket):
                stored = await bucket.read(key)
                assert stored is not None
                assert b"wonderland" not in stored.data
                assert "wonderland" not in str(stored.head.metadata)


async def test_a_withdrawal_deletes_only_the_image_of_its_job() -> None:
    mine, others = Job.numbered(1), Job.numbered(2)
    async with kit(ManualClock()) as router:
        for job in (mine, others):
            await router.upload(job, IMAGE)
            await router.commit(job.commit(IMAGE))
        stolen = mine.withdrawal()
        stolen.object_name = others.object_name
        await router.orders.WithdrawObjects(objects.WithdrawObjectsRequest(withdrawals=[stolen]))
        assert len(await keys_of(router.private)) == 2
        await router.orders.WithdrawObjects(objects.WithdrawObjectsRequest(withdrawals=[mine.withdrawal()]))
        assert await keys_of(router.private) == [f"images/{others.object_name}"]
        with pytest.raises(ObjectNotFound):
            await router.download(router.ticket(mine.image_ticket_claims(IMAGE)))
