"""One suite for every bucket: in memory, in a folder, and of a real S3 server (marker `s3`)."""

from __future__ import annotations

import asyncio
import errno
import os
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horde.buckets.directory import MAX_GROUP, DirectoryBucket
from horde.buckets.errors import StoreUnavailable
from horde.buckets.memory import MemoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.services import neighbours
from horde.services.clock import SystemClock
from horde.testkit.s3 import REGION, ThrowawayS3

METADATA = {"sha256": "ab" * 32, "expires": "1767225600", "requester": "cd" * 32}


def s3_bucket(server: ThrowawayS3, user: str, bucket: str) -> S3Bucket:
    """A bucket, with the credential of a bucket's user."""
    return S3Bucket(server.endpoint, bucket, server.access_key(user), server.secret(user), REGION, secure=False)


KINDS = ["memory", "directory", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=KINDS)
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        match request.param:
            case "memory":
                yield MemoryBucket(clock.now)
            case "directory":
                yield await stack.enter_async_context(DirectoryBucket(tmp_path, clock.now))
            case _:
                server: ThrowawayS3 = request.getfixturevalue("s3_server")
                found = await stack.enter_async_context(s3_bucket(server, "horde-private", "horde-private"))
                server.empty("horde-private")
                yield found


async def test_what_is_put_is_read_with_its_metadata(bucket: Bucket) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert await bucket.put("images/a", b"some bytes", metadata=METADATA, media_type="image/png")
    stored = await bucket.read("images/a")
    assert stored is not None
    assert stored.data == b"some bytes"
    assert stored.head.size_bytes == 10
    assert dict(stored.head.metadata) == METADATA
    assert before < stored.head.modified_at < datetime.now(UTC) + timedelta(seconds=2)
    assert await bucket.head("images/a") == stored.head


async def test_nothing_is_where_nothing_was_put(bucket: Bucket) -> None:
    assert await bucket.head("images/a") is None
    assert await bucket.read("images/a") is None
    assert await bucket.get("images/a", 0, 10) is None
    assert await bucket.page("images/") == []
    await bucket.delete("images/a")


async def test_of_many_who_put_at_once_one_wins_and_its_bytes_stay(bucket: Bucket) -> None:
    contents = [bytes([number]) * 100 for number in range(10)]
    won = await asyncio.gather(
        *(bucket.put("quarantine/job/lease", content, metadata={"number": str(content[0])}) for content in contents)
    )
    assert won.count(True) == 1
    stored = await bucket.read("quarantine/job/lease")
    assert stored is not None
    assert stored.data == contents[won.index(True)]
    assert stored.head.metadata == {"number": str(won.index(True))}
    assert not await bucket.put("quarantine/job/lease", b"late")


async def test_a_range_is_cut_at_the_end(bucket: Bucket) -> None:
    data = bytes(range(256)) * 4
    await bucket.put("images/a", data, metadata=METADATA)
    assert await bucket.get("images/a", 0, 100) == data[:100]
    assert await bucket.get("images/a", 1000, 100) == data[1000:]
    assert await bucket.get("images/a", 1024, 100) == b""
    assert await bucket.get("images/a", 10, 0) == b""


async def test_an_empty_object_is_an_object(bucket: Bucket) -> None:
    assert await bucket.put("claims/input/generation", b"")
    assert not await bucket.put("claims/input/generation", b"")
    stored = await bucket.read("claims/input/generation")
    assert stored is not None
    assert (stored.data, dict(stored.head.metadata)) == (b"", {})


async def test_a_deleted_object_is_gone_and_can_be_put_again(bucket: Bucket) -> None:
    await bucket.put("images/a", b"first")
    await bucket.delete("images/a")
    await bucket.delete("images/a")
    assert await bucket.head("images/a") is None
    assert await bucket.put("images/a", b"second")
    assert await bucket.get("images/a", 0, 10) == b"second"


async def test_a_copy_has_the_bytes_and_more_metadata(bucket: Bucket) -> None:
    await bucket.put("quarantine/j/l", b"bytes", metadata={"sha256": "aa", "placement": "PRIVATE"})
    for expected in (True, False):
        copied = await bucket.copy(
            "quarantine/j/l", "images/a", b"bytes", metadata={"expires": "1"}, media_type="image/png"
        )
        assert copied is expected
    await bucket.delete("quarantine/j/l")
    stored = await bucket.read("images/a")
    assert stored is not None
    assert stored.data == b"bytes"
    # In a folder a copy is a second name: what the first says of it stays beside it.
    assert stored.head.metadata.items() <= {"sha256": "aa", "placement": "PRIVATE", "expires": "1"}.items()
    assert stored.head.metadata["expires"] == "1"


async def test_a_copy_that_comes_too_late_does_not_change_what_is_there(bucket: Bucket) -> None:
    await bucket.put("quarantine/j/l", b"bytes", metadata={"sha256": "aa"})
    assert await bucket.copy("quarantine/j/l", "images/a", b"bytes", metadata={"expires": "1"})
    assert await bucket.copy("quarantine/j/l", "images/a", b"bytes", metadata={"expires": "2"}) is False
    stored = await bucket.read("images/a")
    assert stored is not None
    assert stored.head.metadata["expires"] == "1"


async def test_what_is_replaced_is_read_whole_before_and_after(bucket: Bucket) -> None:
    for content, metadata in ((b"first", {"sha256": "aa"}), (b"", {"expires": "1"}), (b"third, longer", {})):
        await bucket.replace("quarantine/j/l", content, metadata=metadata)
        stored = await bucket.read("quarantine/j/l")
        assert stored is not None
        assert (stored.data, dict(stored.head.metadata)) == (content, metadata)
        assert not await bucket.put("quarantine/j/l", b"late")


async def test_a_copy_stays_what_it_is_when_its_source_is_replaced(bucket: Bucket) -> None:
    await bucket.put("quarantine/j/l", b"bytes", metadata={"sha256": "aa"})
    assert await bucket.copy("quarantine/j/l", "images/a", b"bytes", metadata={"expires": "1"})
    await bucket.replace("quarantine/j/l", b"", metadata={"sha256": "aa"})
    assert await bucket.get("images/a", 0, 10) == b"bytes"


async def test_nothing_is_copied_of_what_is_gone_or_replaced_where_the_store_looks(bucket: Bucket) -> None:
    await bucket.put("quarantine/j/l", b"", metadata={"sha256": "aa"})
    for number, source in enumerate(("quarantine/j/l", "quarantine/j/none")):
        copied = await bucket.copy(source, f"images/{number}", b"bytes", metadata={"expires": "1"})
        assert copied is (True if isinstance(bucket, S3Bucket) else None)
        assert await bucket.get(f"images/{number}", 0, 10) == (b"bytes" if copied else None)


async def test_of_what_is_too_long_the_head_alone_is_read(bucket: Bucket) -> None:
    await bucket.put("images/a", bytes(300_000), metadata=METADATA)
    for most, length in ((299_999, 0), (300_000, 300_000), (None, 300_000)):
        stored = await bucket.read("images/a", most)
        assert stored is not None
        assert (stored.head.size_bytes, len(stored.data)) == (300_000, length)


async def test_pages_follow_each_other_in_the_order_of_keys(bucket: Bucket) -> None:
    keys = [f"claims/{input_id}/{number:02}" for input_id in ("a", "ab", "b") for number in range(5)]
    await asyncio.gather(*(bucket.put(key, b"x") for key in [*keys, "images/a"]))
    assert [entry.key for entry in await bucket.page("claims/")] == keys
    assert [entry.key for entry in await bucket.page("claims/a/")] == keys[:5]
    found: list[str] = []
    while page := await bucket.page("claims/", after=found[-1] if found else "", limit=4):
        assert len(page) <= 4
        found += [entry.key for entry in page]
    assert found == keys


async def test_a_walk_passes_each_object_of_a_folder_once_while_what_it_passed_is_deleted(bucket: Bucket) -> None:
    keys = {f"claims/{number % 7}/{number:03}" for number in range(50)}
    await asyncio.gather(*(bucket.put(key, b"x") for key in [*keys, "images/a"]))
    found: list[str] = []
    async for page in bucket.walk("claims/", size=8):
        assert 0 < len(page) <= 8
        assert all(entry.size_bytes >= 1 for entry in page)
        found += [entry.key for entry in page]
        await asyncio.gather(*(bucket.delete(entry.key) for entry in page[::2]))
    assert (len(found), set(found)) == (50, keys)
    assert [page async for page in bucket.walk("nothing/")] == []
    assert sum([len(page) async for page in bucket.walk("claims/")]) < 50


async def test_without_a_prefix_all_there_is_comes_in_the_order_of_keys(bucket: Bucket) -> None:
    keys = sorted(f"{folder}/{name}" for folder in ("claims/a", "images", "zebras") for name in "abc")
    for key in keys:
        await bucket.put(key, b"x")
    assert [entry.key for entry in await bucket.page("")] == keys
    assert [entry.key for entry in await bucket.page("", after=keys[3], limit=4)] == keys[4:8]


async def test_a_folder_is_read_once_however_many_pages_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with DirectoryBucket(tmp_path, SystemClock().now) as bucket:
        await asyncio.gather(*(bucket.put(f"quarantine/job/{number}", b"x") for number in range(60)))
        read: list[Path] = []
        scan = os.scandir

        def noted(path: Path) -> object:
            read.append(path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", noted)
        assert len([page async for page in bucket.walk("quarantine/", size=5)]) == 12
        assert len(read) == 1


async def test_a_listing_says_what_objects_take(bucket: Bucket) -> None:
    await bucket.put("inputs/a", bytes(100_000), metadata={"kind": "large"})
    await bucket.put("inputs/b", b"")
    large, empty = await bucket.page("inputs/")
    assert 100_000 <= large.size_bytes <= 102_048
    assert empty.size_bytes == 0


async def test_large_objects_and_many_at_once_stay_apart(bucket: Bucket) -> None:
    contents = {f"images/{number}": os.urandom(1000 + number) for number in range(2 * MAX_GROUP)}
    contents["images/large"] = os.urandom(6 << 20)
    assert all(await asyncio.gather(*(bucket.put(key, data) for key, data in contents.items())))
    for key, data in contents.items():
        stored = await bucket.read(key)
        assert stored is not None
        assert stored.data == data


async def test_a_file_is_put_however_large_and_replaces_what_was_there(bucket: Bucket, tmp_path: Path) -> None:
    if isinstance(bucket, DirectoryBucket):
        with pytest.raises(ValueError, match="plain"):
            await bucket.put_file("images/a", tmp_path / "file")
        return
    for content in (os.urandom(12 << 20), b"short", b""):
        (tmp_path / "file").write_bytes(content)
        await bucket.put_file("images/a", tmp_path / "file")
        assert await bucket.get("images/a", 0, 13 << 20) == content


async def test_a_link_serves_the_object_or_there_is_none(bucket: Bucket) -> None:
    await bucket.put("images/a", b"some bytes", media_type="image/png")
    if not isinstance(bucket, S3Bucket):
        assert await bucket.link("images/a", timedelta(minutes=1)) is None
        return
    link = await bucket.link("images/a", timedelta(minutes=1))
    assert link is not None

    def fetch() -> tuple[bytes, str]:
        with urllib.request.urlopen(link) as answer:
            return answer.read(), answer.headers["content-type"]

    assert await asyncio.to_thread(fetch) == (b"some bytes", "image/png")


async def test_a_folder_survives_its_process_and_keeps_no_unfinished_file(tmp_path: Path) -> None:
    clock = SystemClock()
    async with DirectoryBucket(tmp_path, clock.now) as bucket:
        await bucket.put("images/a", b"some bytes", metadata=METADATA)
    left = tmp_path / ".partial" / "left"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    async with DirectoryBucket(tmp_path, clock.now) as bucket:
        stored = await bucket.read("images/a")
        assert stored is not None
        assert dict(stored.head.metadata) == METADATA
    assert list((tmp_path / ".partial").iterdir()) == []


async def test_a_plain_folder_holds_the_bytes_and_nothing_else(tmp_path: Path) -> None:
    async with DirectoryBucket(tmp_path, SystemClock().now, plain=True) as bucket:
        await bucket.put("images/a.png", b"some bytes")
        assert (tmp_path / "images" / "a.png").read_bytes() == b"some bytes"
        with pytest.raises(ValueError, match="no metadata"):
            await bucket.put("images/b.png", b"some bytes", metadata={"a": "b"})


async def test_a_plain_folder_has_the_folders_of_its_keys(tmp_path: Path) -> None:
    async with DirectoryBucket(tmp_path / "bucket", SystemClock().now, plain=True) as bucket:
        (tmp_path / "file").write_bytes(b"tar")
        await bucket.put_file("one/shards/0.tar", tmp_path / "file")
        await bucket.put_file("one/shards/0.tar", tmp_path / "file")
        await bucket.put("one/README.md", b"card")
        await bucket.put("journal/2026/a", b"")
        assert (tmp_path / "bucket" / "one" / "shards" / "0.tar").read_bytes() == b"tar"
        assert [entry.key for entry in await bucket.page("one/")] == ["one/README.md", "one/shards/0.tar"]
        assert [entry.key for entry in await bucket.page("one/shards/")] == ["one/shards/0.tar"]
        assert [entry.key for entry in await bucket.page("journal/2026/")] == ["journal/2026/a"]


@pytest.mark.parametrize(
    "key", ["images/../../etc/passwd", ".partial/x", "images", "/images", "images/.x", "images/a!b"]
)
async def test_no_key_leaves_the_folder(tmp_path: Path, key: str) -> None:
    async with DirectoryBucket(tmp_path / "bucket", SystemClock().now) as bucket:
        with pytest.raises(ValueError, match="cannot be a key"):
            await bucket.put(key, b"x")


async def test_a_damaged_file_is_an_unavailable_store(tmp_path: Path) -> None:
    async with DirectoryBucket(tmp_path, SystemClock().now) as bucket:
        await bucket.put("images/a", b"some bytes", metadata=METADATA)
        (tmp_path / "images" / "a").write_bytes(b"rubbish")
        with pytest.raises(StoreUnavailable):
            await bucket.head("images/a")
        with pytest.raises(StoreUnavailable):
            await bucket.read("images/a")


async def test_of_a_replacement_that_fails_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "images" / "a" / "in the way").mkdir(parents=True)
    async with DirectoryBucket(tmp_path, SystemClock().now) as bucket:
        with pytest.raises(StoreUnavailable):
            await bucket.replace("images/a", b"bytes", metadata=METADATA)
        await bucket.replace("images/b", b"bytes", metadata=METADATA)
        assert await bucket.get("images/b", 0, 10) == b"bytes"
    assert list((tmp_path / ".partial").iterdir()) == []


@pytest.mark.s3
async def test_each_credential_opens_its_own_bucket_only(s3_server: ThrowawayS3) -> None:
    private, shared = "horde-private", "horde-shared"
    async with s3_bucket(s3_server, shared, shared) as bucket:
        await bucket.put("images/x", b"x")
    for user, name in ((private, shared), (shared, private), ("nobody", private)):
        with pytest.raises(StoreUnavailable):
            await s3_bucket(s3_server, user, name).__aenter__()
    foreign = s3_bucket(s3_server, private, shared)
    for attempt in (foreign.put("images/y", b"y"), foreign.read("images/x"), foreign.delete("images/x")):
        with pytest.raises(StoreUnavailable):
            await attempt


@pytest.mark.s3
async def test_a_server_that_is_away_is_an_unavailable_store() -> None:
    with pytest.raises(StoreUnavailable):
        await S3Bucket("127.0.0.1:1", "horde-private", "key", "secret", "us-east-1", secure=False).__aenter__()


async def test_a_folder_that_takes_nothing_more_is_told_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, str]] = []

    class Recorder:
        def warning(self, event: str, **facts: str) -> None:
            lines.append((event, facts.get("why", "")))

        info = warning

    monkeypatch.setattr(neighbours, "log", Recorder())
    async with DirectoryBucket(tmp_path, SystemClock().now) as bucket:
        written = os.open

        def full(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_CREAT:
                raise OSError(errno.ENOSPC, "No space left on device")
            return written(path, flags, mode)

        monkeypatch.setattr(os, "open", full)
        for number in range(9):
            with pytest.raises(StoreUnavailable):
                await bucket.put(f"images/{number}", b"bytes")
        monkeypatch.setattr(os, "open", written)
        assert await bucket.put("images/a", b"bytes")
    assert lines == [
        ("a neighbour fails", "The folder of a bucket failed: No space left on device."),
        ("a neighbour is back", ""),
    ]
