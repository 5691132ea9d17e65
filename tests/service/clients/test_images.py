"""Bytes through the second door: whole, right, and going on where they broke."""

import asyncio

import pytest
from tests.service.clients.fake_mesh import FakeMesh

from horde.clients.client import HordeClient
from horde.clients.credentials import AnonymousToken
from horde.clients.errors import DamagedImage, ImageNotFinished, NotAnImage, ObjectNotFound, TooLarge, Unavailable
from horde.clients.retrying import IMPATIENT


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
    with pytest.raises(ImageNotFinished):
        await horde.images.fetch("g", "job")
    with pytest.raises(ObjectNotFound):
        await horde.images.fetch("g", "another")
    assert mesh.heard("Download") == []


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
