"""What the storage router refuses, and every way in which a token is none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.service.reasons.provoking import MESH, STORAGE, item, provokes, refusal

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.channel import dial
from horde.services.errors import ServiceError
from horde.services.identity import Credentials
from horde.storage_router.core.failures import MOST
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, Kit, cut, finish, kit, make_signer, paint

JOB = Job()
IMAGE = paint()
INPUT = "0b2d8c1e-0000-4000-8000-000000000001"


async def put(router: Kit, data: bytes = IMAGE, job: Job = JOB, **changes: Any) -> ServiceError:
    """What bringing an image in one message is refused with."""
    fields = {"grant": router.grant(job), "data": data, "sha256": finish(data).sha256, **changes}
    return await refusal(router.door.PutImage(storage.PutImageRequest(**fields)))


@provokes(STORAGE, "NOT_AN_IMAGE")
async def what_is_no_picture(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, b"no picture")


@provokes(STORAGE, "WRONG_DIMENSIONS")
async def a_picture_of_another_size(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, paint(width=32, height=32))


@provokes(STORAGE, "TOO_LARGE")
async def more_bytes_than_granted(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, grant=router.grant(JOB, max_bytes=10))


@provokes(STORAGE, "CONTENT_CONFLICT")
async def another_picture_for_one_lease(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        await router.put(JOB, IMAGE)
        return await put(router, paint(seed=9))


@provokes(STORAGE, "DIGEST_MISMATCH")
async def other_bytes_than_were_said(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, sha256=bytes(32))


@provokes(STORAGE, "PROTOCOL_VIOLATION")
async def a_chunk_before_the_opening(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        call = router.door.UploadImage()
        await call.write(storage.UploadImageRequest(chunk=next(cut(IMAGE))))
        return await refusal(call.read())


@provokes(STORAGE, "TOO_SLOW")
async def an_upload_that_dawdles(_: Path) -> ServiceError:
    clock = ManualClock()
    async with kit(clock) as router:
        call = router.door.UploadImage()
        await call.write(storage.UploadImageRequest(open=storage.UploadImageOpen(grant=router.grant(JOB))))
        await call.read()
        await call.write(storage.UploadImageRequest(chunk=storage.Chunk(data=IMAGE[:100])))
        await router.received(100)
        await clock.advance(60)
        return await refusal(call.read())


@provokes(STORAGE, "OBJECT_NOT_FOUND")
async def what_is_not_there(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        ticket = router.ticket(JOB.image_ticket_claims(IMAGE))
        return await refusal(router.door.Download(storage.DownloadRequest(ticket=ticket)))


@provokes(STORAGE, "PLACEMENT_MISMATCH")
async def a_placement_that_the_facts_do_not_give(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, grant=router.grant(JOB, placement="SHARED"))


@provokes(STORAGE, "LINKS_UNSUPPORTED")
async def a_link_from_a_store_without_links(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        await router.put(JOB, IMAGE)
        await router.commit(JOB.commit(IMAGE))
        ticket = router.ticket(JOB.image_ticket_claims(IMAGE))
        return await refusal(router.door.CreateLink(storage.CreateLinkRequest(ticket=ticket)))


@provokes(STORAGE, "INPUT_UNUSABLE")
async def an_input_that_was_never_put(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        request = objects.DescribeInputsRequest(
            requester=job_pb2.Requester(account_id="alice"),
            inputs=[job_pb2.InputImage(input_id=INPUT, sha256=bytes(32))],
        )
        return item((await router.orders.DescribeInputs(request)).outcomes[0].error)


@provokes(STORAGE, "INVALID_FIELD")
async def a_commit_of_nothing(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        (outcome,) = await router.commit(objects.CommitObject())
        return item(outcome.error)


@provokes(STORAGE, "INPUTS_FULL")
async def more_inputs_than_there_is_room(_: Path) -> ServiceError:
    async with kit(ManualClock(), max_stored_input_bytes=len(IMAGE)) as router:
        number = 0
        while True:
            number += 1
            ticket = router.input_ticket(f"0b2d8c1e-0000-4000-8000-{number:012x}")
            try:
                await router.put_input(ticket, IMAGE)
            except ServiceError as error:
                return error


@provokes(STORAGE, "LEASE_CLOSED")
async def a_lease_that_ended_without_an_object(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        discards = [objects.DiscardObject(job_id=JOB.job_id, lease_id=JOB.lease_id)]
        await router.orders.DiscardObjects(objects.DiscardObjectsRequest(discards=discards))
        return await put(router)


@provokes(STORAGE, "TOO_MANY_FAILURES")
async def one_bad_upload_too_many(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        for _n in range(MOST):
            await put(router, b"no picture")
        return await put(router, b"no picture")


@provokes(STORAGE, "SHARE_EXCEEDED")
async def two_streams_under_one_ticket(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        ticket = router.input_ticket(INPUT)
        first = router.door.PutInput()
        await first.write(storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket)))
        await first.write(storage.PutInputRequest(chunk=storage.Chunk(data=IMAGE[:100])))
        await router.received(100)
        found = await refusal(router.put_input(ticket, IMAGE))
        first.cancel()
        return found


@provokes(MESH, "TOKEN_MALFORMED")
async def a_token_that_is_none(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await put(router, grant="no token")


@provokes(MESH, "TOKEN_FORGED")
async def a_token_of_a_strange_key(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        stranger = make_signer("scheduler", seed=1)
        token = stranger.sign("storage-router", JOB.grant_claims(), timedelta(hours=1), router.clock.now())
        return await put(router, grant=token)


@provokes(MESH, "TOKEN_EXPIRED")
async def a_token_that_was_good_once(_: Path) -> ServiceError:
    clock = ManualClock()
    async with kit(clock) as router:
        token = router.scheduler.sign("storage-router", JOB.grant_claims(), timedelta(seconds=1), clock.now())
        await clock.advance(120)
        return await put(router, grant=token)


@provokes(MESH, "TOKEN_WRONG_AUDIENCE")
async def a_grant_where_a_ticket_belongs(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        return await refusal(router.door.Download(storage.DownloadRequest(ticket=router.grant(JOB))))


@provokes(MESH, "BAD_PROOF")
async def a_name_without_the_key(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router:
        liar = Credentials.from_key("scheduler", b"not the key of this run........")
        async with dial(router.target, caller=liar) as channel:
            stub = ObjectServiceStub(channel)
            return await refusal(stub.CommitObjects(objects.CommitObjectsRequest()))


@provokes(MESH, "CALLER_NOT_ALLOWED")
async def a_stranger_at_an_inner_door(_: Path) -> ServiceError:
    async with kit(ManualClock()) as router, dial(router.target, caller=None) as channel:
        return await refusal(ObjectServiceStub(channel).CommitObjects(objects.CommitObjectsRequest()))
