"""Files of data releases, under tickets of the curation service, where the store makes no links."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from horde.services.errors import ServiceError
from horde.services.tokens import TokenWrongAudience
from horde.storage_router.core.errors import ObjectNotFound
from horde.storage_router.doors.permits import AUDIENCE
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import LIFETIME, Kit, kit

TAR = bytes(range(256)) * 3_000


def ticket(router: Kit, key: str, size: int = len(TAR)) -> str:
    claims = {
        "act": "get_release_file",
        "key": key,
        "size_bytes": size,
        "file_sha256": hashlib.sha256(TAR).hexdigest(),
    }
    return router.curation.sign(AUDIENCE, claims, LIFETIME, router.clock.now())


async def test_a_file_of_a_release_comes_whole_and_from_where_it_broke(tmp_path: Path) -> None:
    async with kit(ManualClock(), releases=tmp_path) as router:
        file = tmp_path / "releases" / "2026-11.1" / "shards" / "00000.tar"
        file.parent.mkdir(parents=True)
        file.write_bytes(TAR)
        key = "releases/2026-11.1/shards/00000.tar"
        header, data = await router.download(ticket(router, key))
        assert (header.size_bytes, header.sha256, header.format) == (len(TAR), hashlib.sha256(TAR).digest(), 0)
        assert data == TAR
        assert (await router.download(ticket(router, key), offset=700_000))[1] == TAR[700_000:]


@pytest.mark.parametrize(
    "key", ["undecided/a.json", "building/a/plan.json", "finished/a.json", "releases/../x", "releases/a", "/etc/x"]
)
async def test_nothing_but_files_of_releases_is_read(tmp_path: Path, key: str) -> None:
    async with kit(ManualClock(), releases=tmp_path) as router:
        with pytest.raises(ObjectNotFound):
            await router.download(ticket(router, key))


async def test_where_there_is_no_such_bucket_or_no_such_file_there_is_nothing(tmp_path: Path) -> None:
    async with kit(ManualClock()) as router:
        with pytest.raises(ObjectNotFound):
            await router.download(ticket(router, "releases/a/x"))
    async with kit(ManualClock(), releases=tmp_path) as router:
        with pytest.raises(ServiceError):
            await router.download(ticket(router, "releases/a/x"))


async def test_the_gateway_gives_no_such_tickets(tmp_path: Path) -> None:
    claims = {"act": "get_release_file", "key": "releases/a/x", "size_bytes": 1, "file_sha256": ""}
    async with kit(ManualClock(), releases=tmp_path) as router:
        with pytest.raises(TokenWrongAudience):
            await router.download(router.ticket(claims))
