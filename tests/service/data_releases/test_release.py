"""A release from end to end, in folders: what is in it, what is not, and what the next one says."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from horde.buckets.directory import DirectoryBucket
from horde.data_releases import copies
from horde.data_releases.core import layout
from horde.data_releases.core.plan import BadPlan, OtherPlan
from horde.data_releases.keys import public_pem
from horde.data_releases.planning import Order
from horde.data_releases.releases import Releases
from horde.testkit.data_releases import KEYS, Moment, Sharing, contents, job_id, plain_folder, release


@dataclass
class Stage:
    sharing: Sharing
    releases: DirectoryBucket
    path: Path

    async def release(self, name: str, **others: Any) -> Path:
        await release(self.sharing, self.releases, self.path / "state", Order(name, others=others))
        return self.folder(name)

    def folder(self, name: str) -> Path:
        return self.path / "releases" / "releases" / name


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    sharing_clock = Moment()
    async with (
        plain_folder(tmp_path / "shared", sharing_clock) as shared,
        plain_folder(tmp_path / "releases", sharing_clock) as releases,
    ):
        yield Stage(Sharing(shared, sharing_clock), releases, tmp_path)


def rows(folder: Path, name: str = layout.METADATA) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / name).to_pylist()
    return found


def left_out(folder: Path) -> dict[str, int]:
    counted = json.loads((folder / layout.STATISTICS).read_bytes())["left_out"]
    return {reason: found["images"] for reason, found in counted.items() if found["images"]}


async def test_a_release_holds_every_image_with_its_row_its_prompt_and_its_checksum(stage: Stage) -> None:
    for number in range(60):
        await stage.sharing.share(number, anonymous=number % 4 == 0)
    folder = await stage.release("2026-12.1")
    report = copies.verify(folder, public_pem(KEYS.signing))
    assert (report.faults, report.images) == ([], 60)
    assert [row["id"] for row in rows(folder)] == [job_id(number) for number in range(60)]
    for row in rows(folder):
        with tarfile.open(folder / row["shard"]) as tar:
            opened = tar.extractfile(f"{row['id']}.txt")
            assert opened is not None
            assert opened.read().decode() == row["prompt"]
        with (folder / row["shard"]).open("rb") as shard:
            shard.seek(row["tar_offset"])
            data = shard.read(row["bytes"])
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert Image.open(io.BytesIO(data)).format == "WEBP"
    assert {row["user_type"] for row in rows(folder)} == {"anonymous", "registered"}
    assert {path.name for path in folder.glob("shards/*.tar")} == {"00000.tar", "00001.tar", "00002.tar"}


async def test_what_may_not_be_in_a_release_is_not_and_is_counted(stage: Stage) -> None:
    share = stage.sharing.share
    for number in range(20):
        await share(number)
    await stage.sharing.images.withdraw(job_id(0))
    await stage.sharing.change_record(job_id(1), consent={"who_class": "registered"})
    source = {"source_image": {"input_id": "x"}}
    await stage.sharing.change_record(job_id(2), spec={"model": "m", "image": {"prompt": "x", **source}})
    await stage.sharing.bucket.delete(f"images/{job_id(3)}.webp")
    await stage.sharing.bucket.put(f"images/{job_id(3)}.webp", b"other bytes")
    await stage.sharing.decide(job_id(4), "unsafe")
    await stage.sharing.decide(job_id(5), "unsure")
    await stage.sharing.bucket.delete(f"images/{job_id(6)}.json")
    await stage.sharing.bucket.put(f"images/{job_id(6)}.json", b"{}")
    await stage.sharing.bucket.delete(f"images/{job_id(7)}.png")
    await share(20, prompt="write to jane.doe@example.org")
    await share(21, seed=99)
    await share(22, seed=99)
    folder = await stage.release("r1")
    assert left_out(folder) == {
        "withdrawn": 1,
        "no_consent": 1,
        "not_text_to_image": 1,
        "damaged": 1,
        "unsafe": 1,
        "undecided": 1,
        "bad_record": 1,
        "incomplete": 1,
        "contact_data": 1,
        "duplicate": 1,
    }
    assert [row["id"] for row in rows(folder)] == [job_id(number) for number in (*range(8, 20), 21)]
    assert copies.verify(folder).faults == []


async def test_what_is_younger_than_the_cool_off_waits_for_the_next_release(stage: Stage) -> None:
    await stage.sharing.share(0)
    stage.sharing.clock.at += timedelta(days=5)
    await stage.sharing.share(1)
    stage.sharing.clock.at -= timedelta(days=5)
    first = await stage.release("r1")
    second = await stage.release("r2")
    assert [row["id"] for row in rows(first)] == [job_id(0)]
    assert [row["id"] for row in rows(second)] == [job_id(1)]


async def test_the_next_release_holds_what_is_new_and_names_what_was_withdrawn(stage: Stage) -> None:
    for number in range(30):
        await stage.sharing.share(number)
    await stage.release("r1")
    for number in (3, 27):
        await stage.sharing.images.withdraw(job_id(number))
    for number in range(30, 40):
        await stage.sharing.share(number)
    await stage.sharing.share(40, seed=0)
    second = await stage.release("r2")
    await stage.sharing.images.withdraw(job_id(5))
    third = await stage.release("r3")
    assert [row["id"] for row in rows(second)] == [job_id(number) for number in range(30, 41)]
    assert [(row["id"], row["release_id"]) for row in rows(second, layout.REMOVED)] == [
        (job_id(3), "r1"),
        (job_id(27), "r1"),
    ]
    assert [row["id"] for row in rows(third, layout.REMOVED)] == [job_id(3), job_id(5), job_id(27)]
    assert rows(third) == []


async def test_a_release_reads_no_old_picture_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        await stage.sharing.share(number)
    await stage.release("r1")
    await stage.sharing.share(30)
    read: list[str] = []
    whole = stage.sharing.bucket.read

    async def spy(key: str) -> Any:
        read.append(key)
        return await whole(key)

    monkeypatch.setattr(stage.sharing.bucket, "read", spy)
    await stage.release("r2")
    assert {key for key in read if key.startswith("images/")} == {
        f"images/{job_id(30)}.json",
        f"images/{job_id(30)}.webp",
    }


async def test_the_same_bucket_and_arguments_give_the_same_bytes_on_another_machine(
    stage: Stage, tmp_path: Path
) -> None:
    for number in range(40):
        await stage.sharing.share(number, seed=number // 2)
    first = await stage.release("r1")
    async with plain_folder(tmp_path / "elsewhere", stage.sharing.clock) as elsewhere:
        stage.sharing.clock.at -= timedelta(days=8)
        await release(stage.sharing, elsewhere, tmp_path / "other-state", Order("r1", others={}))
    assert contents(first) == contents(tmp_path / "elsewhere" / "releases" / "r1")


async def test_a_finished_release_never_changes(stage: Stage) -> None:
    for number in range(10):
        await stage.sharing.share(number)
    first = await stage.release("r1")
    before = contents(first)
    finished = await Releases(stage.releases).get("r1")
    await stage.sharing.images.withdraw(job_id(2))
    again = Order("r1", as_of=finished.plan.as_of, others={})
    assert await release(stage.sharing, stage.releases, stage.path / "state", again) == finished
    other = Order("r1", as_of=finished.plan.as_of, others={"near_bits": 2})
    with pytest.raises(OtherPlan, match="near_bits"):
        await release(stage.sharing, stage.releases, stage.path / "state", other)
    assert contents(first) == before


async def test_what_moderation_was_not_sure_of_comes_when_it_has_decided(stage: Stage) -> None:
    for number in range(4):
        await stage.sharing.share(number)
    await stage.sharing.decide(job_id(1), "unsure")
    await stage.sharing.decide(job_id(2), "unsure")
    await stage.release("r1")
    await stage.sharing.decide(job_id(1), "safe")
    second = await stage.release("r2")
    await stage.sharing.decide(job_id(2), "unsafe")
    third = await stage.release("r3")
    assert [row["id"] for row in rows(second)] == [job_id(1)]
    assert left_out(second) == {"undecided": 1}
    assert (rows(third), left_out(third)) == ([], {"unsafe": 1})


async def test_a_release_cannot_speak_for_a_moment_that_has_not_come(stage: Stage) -> None:
    later = Order("r1", as_of=stage.sharing.clock.at + timedelta(days=30))
    with pytest.raises(BadPlan, match="as_of"):
        await release(stage.sharing, stage.releases, stage.path / "state", later)


async def test_near_duplicates_are_marked_with_the_first_of_them(stage: Stage) -> None:
    await stage.sharing.share(0, seed=7, size=64)
    await stage.sharing.share(1, seed=7, size=128)
    await stage.sharing.share(2, seed=8)
    folder = await stage.release("r1")
    assert [row["near_duplicate_of"] for row in rows(folder)] == [None, job_id(0), None]
    assert json.loads((folder / layout.STATISTICS).read_bytes())["near_duplicates"] == 1


async def test_pseudonyms_tell_requesters_apart_within_a_release_and_not_across_two(stage: Stage) -> None:
    for number in range(4):
        await stage.sharing.share(number)
        await stage.sharing.change_record(job_id(number), requester=f"digest-{number % 2}")
    first = await stage.release("r1")
    for number in range(4, 8):
        await stage.sharing.share(number)
        await stage.sharing.change_record(job_id(number), requester=f"digest-{number % 2}")
    second = await stage.release("r2")
    one, other = ([row["requester"] for row in rows(folder)] for folder in (first, second))
    assert one[0] == one[2] != one[1] == one[3]
    assert other[0] == other[2] != other[1]
    assert not {*one} & {*other}


async def test_a_copy_is_pruned_of_what_was_withdrawn_and_still_verifies(stage: Stage, tmp_path: Path) -> None:
    for number in range(60):
        await stage.sharing.share(number)
    first = await stage.release("r1")
    copy = tmp_path / "copy"
    assert await copies.pull(stage.releases, "r1", copy) > 0
    assert contents(copy) == contents(first)
    assert await copies.pull(stage.releases, "r1", copy) < 10_000
    for number in (3, 4, 57):
        await stage.sharing.images.withdraw(job_id(number))
    removed = (await stage.release("r2")) / layout.REMOVED
    assert copies.verify(copy, removed=removed).faults != []
    assert copies.prune(copy, removed) == 3
    assert copies.prune(copy, removed) == 0
    report = copies.verify(copy, public_pem(KEYS.signing), removed)
    assert (report.faults, report.images, report.pruned) == ([], 57, 3)
    for row in rows(copy):
        data = (copy / row["shard"]).read_bytes()[row["tar_offset"] :][: row["bytes"]]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    everything = b"".join(path.read_bytes() for path in copy.rglob("*") if path.is_file())
    assert b"number 57" not in everything


async def test_what_was_pruned_of_another_release_of_that_name_is_not_believed(stage: Stage, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for number in range(4):
        await stage.sharing.share(number)
    await stage.release("r1")
    await copies.pull(stage.releases, "r1", copy)
    await stage.sharing.images.withdraw(job_id(0))
    copies.prune(copy, (await stage.release("r2")) / layout.REMOVED)
    # Somebody else's release, or one that was thrown away and made again.
    made = stage.releases
    await stage.sharing.share(9)
    await release(stage.sharing, stage.releases, stage.path / "other", Order("r3", previous=""))
    other = stage.folder("r3")
    for key in [entry.key for entry in await made.page(layout.release("r1", ""))]:
        await made.delete(key)
    for path in [path for path in other.rglob("*") if path.is_file()]:
        await made.put_file(layout.release("r1", path.relative_to(other).as_posix()), path)
    await copies.pull(made, "r1", copy)
    assert not (copy / layout.PRUNED).exists()
    assert contents(copy) == contents(other)


@pytest.mark.parametrize("fault", ["byte", "missing", "stranger", "signature"])
async def test_verify_finds_each_fault_of_a_copy(stage: Stage, tmp_path: Path, fault: str) -> None:
    for number in range(5):
        await stage.sharing.share(number)
    await stage.release("r1")
    copy = tmp_path / "copy"
    await copies.pull(stage.releases, "r1", copy)
    shard = copy / "shards" / "00000.tar"
    match fault:
        case "byte":
            data = bytearray(shard.read_bytes())
            data[700] ^= 1
            shard.write_bytes(data)
        case "missing":
            shard.unlink()
        case "stranger":
            (copy / "shards" / "00001.tar").write_bytes(b"")
        case _:
            listed = copy / layout.CHECKSUMS
            listed.write_bytes(listed.read_bytes().replace(b"README.md", b"README.MD"))
    assert copies.verify(copy).faults


async def test_withdrawn_while_it_is_built_is_not_in_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        await stage.sharing.share(number, seed=3 if number in (2, 55) else number + 1000)
    withdrawn: list[str] = []
    whole = stage.releases.put_file

    async def put_file(key: str, path: Path, *, media_type: str = "") -> None:
        await whole(key, path, media_type=media_type)
        if key.endswith("00001.tar") and not withdrawn:
            withdrawn.append(job_id(2))
            await stage.sharing.images.withdraw(job_id(2))

    monkeypatch.setattr(stage.releases, "put_file", put_file)
    folder = await stage.release("r1")
    assert withdrawn
    # Its duplicate comes in its place, as if it had never been there.
    assert [row["id"] for row in rows(folder)] == [job_id(number) for number in range(60) if number != 2]
    assert copies.verify(folder).faults == []
