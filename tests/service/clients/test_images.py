"""Bytes through the second door: whole, right, and going on where they broke."""

import asyncio
import re

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.job.v1.job_pb2 import JobEnding, JobState
from horde.cli.conform.fake_mesh import FakeMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import AnonymousToken
from horde.clients.errors import DamagedImage, ImageNotFinished, NotAnImage, ObjectNotFound, TooLarge, Unavailable
from horde.clients.retrying import IMPATIENT

ENDED, DONE, EXPIRED = JobState.JOB_STATE_ENDED, JobEnding.JOB_ENDING_DONE, JobEnding.JOB_ENDING_EXPIRED


async def test_a_broken_download_goes_on_where_it_broke(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.done_generation("g")
    mesh.sent_before_break = 3
    assert await horde.images.fetch("g", "job") == mesh.picture
    assert [request.offset for request in mesh.heard("Download")] == [0, 3 * 65_536]


async def test_an_expired_ticket_is_replaced(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.done_generation("g")
    mesh.tickets_until_good = 2
    assert await horde.images.fetch("g", "job") == mesh.picture
    assert len(mesh.heard("Get")) == 3


async def test_other_bytes_than_promised_are_fetched_once_more_and_then_refused(
    mesh: FakeMesh, horde: HordeClient
) -> None:
    mesh.done_generation("g", promised=b"something else")
    with pytest.raises(DamagedImage):
        await horde.images.fetch("g", "job")
    assert len(mesh.heard("Download")) == 2


async def test_an_unfinished_or_withdrawn_image_has_no_bytes(mesh: FakeMesh, horde: HordeClient) -> None:
    made = mesh.done_generation("g")
    made.images[0].withdrawn = True
    with pytest.raises(ObjectNotFound):
        await horde.images.fetch("g", "job")
    made.images[0].withdrawn = False
    made.images[0].ClearField("download")
    made.images[0].state = JobState.JOB_STATE_LEASED
    with pytest.raises(ImageNotFinished):
        await horde.images.fetch("g", "job")
    with pytest.raises(ObjectNotFound):
        await horde.images.fetch("g", "another")
    assert mesh.heard("Download") == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image(index=2, state=ENDED, ending=DONE, withdrawn=True), "Image 2 was withdrawn."),
        (Image(index=2, state=JobState.JOB_STATE_QUEUED), "Image 2 is not finished yet."),
        (Image(index=2, state=ENDED, ending=EXPIRED), "Image 2 ended without a picture: expired."),
        (
            Image(index=2, state=ENDED, ending=DONE, expires_at=Timestamp(seconds=1_800_000_000)),
            "Image 2 was kept until 2027-01-15 08:00 UTC, and is gone.",
        ),
    ],
    ids=["withdrawn", "unfinished", "expired job", "clock a day off"],
)
async def test_why_there_is_no_picture_speaks_of_what_was_asked(
    mesh: FakeMesh, horde: HordeClient, image: Image, words: str
) -> None:
    image.job_id = "job"
    mesh.generations["g"] = Generation(generation_id="g", images=[image])
    with pytest.raises((ImageNotFinished, ObjectNotFound), match=re.escape(words)):
        await horde.images.fetch("g", "job")


async def test_tickets_that_are_never_good_are_not_asked_for_for_ever(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.done_generation("g")
    mesh.tickets_until_good = 1_000
    with pytest.raises(Unavailable, match="the clocks of the mesh's services differ"):
        await horde.images.fetch("g", "job")
    assert len(mesh.heard("Download")) == 4


async def test_an_input_is_put_whole_and_again_under_the_same_id(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.fail("PutInput", Unavailable())
    content = bytes(range(256)) * 3000
    stored = await horde.images.put(content)
    assert mesh.put == {stored.input_id: content}
    assert len({request.input_id for request in mesh.heard("InputTicket")}) == 1


async def test_what_storage_refuses_is_told(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.fail("PutInput", NotAnImage(metadata={"why": "no header"}))
    with pytest.raises(NotAnImage):
        await horde.images.put(b"no picture")


async def test_an_input_over_the_limit_is_refused_before_it_is_sent(mesh: FakeMesh, horde: HordeClient) -> None:
    with pytest.raises(TooLarge):
        await horde.images.put(bytes(10_000_001))
    assert mesh.heard("PutInput") == []


async def test_twenty_images_at_once_use_one_channel(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.done_generation("g")
    fetched = await asyncio.gather(*(horde.images.fetch("g", "job") for _ in range(20)))
    assert set(fetched) == {mesh.picture}


async def test_who_has_no_patience_hears_at_once(mesh: FakeMesh) -> None:
    mesh.fail("Get", Unavailable())
    async with HordeClient(mesh.address, credential=AnonymousToken("a" * 32), patience=IMPATIENT) as horde:
        with pytest.raises(Unavailable):
            await horde.generations.get("g")
    assert len(mesh.heard("Get")) == 1
