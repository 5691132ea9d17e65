"""Data releases as they are asked for over the wire: built by a child process, shown, cancelled, taken up again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import psutil
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.curation.core.rating import Rating, Record, Shown
from horde.curation.store.sql import sql_store
from horde.services.clock import SystemClock
from horde.services.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from horde.testkit.curation import OPERATOR, CurationBench, curation, visitor
from horde.testkit.data_releases import Moment, Sharing, job_id, plain_folder
from horde.testkit.loopback import assert_raises_reason, fields_of
from horde.testkit.waiting import ticks, until_told

OPS = visitor("ops", roles=[OPERATOR])
ANNA = visitor("anna")
AT_ONCE = pb.ReleaseTerms(cool_off=Duration(), images_per_shard=4)


async def shared_before(folder: Path) -> None:
    """Six images that were shared three hours ago: whoever reads the journals finds those hours over."""
    moment = Moment(datetime.now(UTC) - timedelta(hours=3))
    async with plain_folder(folder / "shared", moment) as bucket:
        for number in range(6):
            await Sharing(bucket, moment).share(number)


@pytest_asyncio.fixture
async def it(tmp_path: Path) -> AsyncIterator[CurationBench]:
    await shared_before(tmp_path)
    # The builder is a process, and goes by the clock on the wall.
    async with curation(tmp_path, clock=SystemClock(), follow_seconds=0.05) as opened:
        yield opened


async def create(it: CurationBench, name: str, terms: pb.ReleaseTerms = AT_ONCE) -> pb.DataRelease:
    request = pb.CreateDataReleaseRequest(name=name, terms=terms)
    release: pb.DataRelease = (await it.releases.CreateDataRelease(request, metadata=OPS)).release
    return release


async def get(it: CurationBench, name: str, who: Any = OPS) -> pb.DataRelease:
    release: pb.DataRelease = (
        await it.releases.GetDataRelease(pb.GetDataReleaseRequest(name=name), metadata=who)
    ).release
    return release


async def built(it: CurationBench, name: str, terms: pb.ReleaseTerms = AT_ONCE) -> pb.DataRelease:
    await create(it, name, terms)

    async def over() -> bool:
        return (await get(it, name)).state != pb.DATA_RELEASE_STATE_BUILDING

    await until_told(over)
    release = await get(it, name)
    assert release.state == pb.DATA_RELEASE_STATE_FINISHED, release.failure
    return release


async def files(it: CurationBench, name: str, **fields: Any) -> list[pb.ReleaseFile]:
    found, token = [], ""
    while True:
        request = pb.ListReleaseFilesRequest(name=name, page_token=token, **fields)
        answer = await it.releases.ListReleaseFiles(request, metadata=ANNA)
        found += answer.files
        token = answer.next_page_token
        if not token:
            return found


async def removals(it: CurationBench, name: str, **fields: Any) -> dict[str, pb.ReleaseRemoval]:
    request = pb.ListReleaseRemovalsRequest(name=name, **fields)
    answer = await it.releases.ListReleaseRemovals(request, metadata=ANNA)
    return {removal.image_id: removal for removal in answer.removals}


async def test_a_release_is_built_and_anybody_with_an_account_reads_it(it: CurationBench) -> None:
    release = await built(it, "2026-11.1")
    assert (release.images, release.shards, release.removals, release.license) == (6, 2, 0, "CC0-1.0")
    assert (len(release.manifest_sha256), len(release.signature), bool(release.signing_key_id)) == (32, 64, True)
    assert release.terms == pb.ReleaseTerms(cool_off=Duration(), images_per_shard=4, bytes_per_shard=1 << 30)
    assert await create(it, "2026-11.1") == release == await get(it, "2026-11.1", ANNA)

    found = {file.path: file for file in await files(it, "2026-11.1", page_size=5)}
    folder = it.settings.releases_dir / "releases" / "2026-11.1"
    assert set(found) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for path, file in found.items():
        data = (folder / path).read_bytes()
        assert file.size_bytes == len(data)
        assert not file.sha256 or file.sha256 == hashlib.sha256(data).digest()
        claims = jwt.decode(file.ticket, options={"verify_signature": False})
        assert (claims["act"], claims["key"]) == ("get_release_file", f"releases/2026-11.1/{path}")
    assert {file.path for file in found.values() if not file.sha256} == {"checksums.sha256", "checksums.sha256.sig"}
    shards = await files(it, "2026-11.1", kind=pb.RELEASE_FILE_KIND_SHARD)
    assert [shard.path for shard in shards] == ["shards/00000.tar", "shards/00001.tar"]
    assert pb.RELEASE_FILE_KIND_UNSPECIFIED not in {file.kind for file in found.values()}


async def test_the_same_name_in_other_terms_is_a_conflict_and_one_is_built_at_a_time(it: CurationBench) -> None:
    await create(it, "a")
    with assert_raises_reason(FailedPrecondition, "RELEASE_RUNNING", {"name": "a"}):
        await create(it, "b")
    with assert_raises_reason(AlreadyExists, "RELEASE_CONFLICT", {"field": "terms.cool_off"}):
        await create(it, "a", pb.ReleaseTerms(images_per_shard=4))
    await built(it, "a")
    with assert_raises_reason(AlreadyExists, "RELEASE_CONFLICT", {"field": "terms.include_unsure"}):
        await create(it, "a", pb.ReleaseTerms(cool_off=Duration(), images_per_shard=4, include_unsure=True))
    with assert_raises_reason(FailedPrecondition, "RELEASE_FINISHED", {"name": "a"}):
        await it.releases.CancelDataRelease(pb.CancelDataReleaseRequest(name="a"), metadata=OPS)


async def test_what_is_not_finished_is_the_operators_alone_and_is_taken_up_again_after_it_was_cancelled(
    it: CurationBench,
) -> None:
    await create(it, "a")
    with assert_raises_reason(NotFound, "RELEASE_NOT_FOUND", {"name": "a"}):
        await get(it, "a", ANNA)
    with assert_raises_reason(NotFound, "RELEASE_NOT_FOUND"):
        await files(it, "a")
    cancelled = await it.releases.CancelDataRelease(pb.CancelDataReleaseRequest(name="a"), metadata=OPS)
    assert cancelled.release.state == pb.DATA_RELEASE_STATE_FAILED
    assert cancelled.release.failure == "cancelled by an operator"
    assert (await built(it, "a")).images == 6


async def test_a_builder_that_fails_says_why_and_the_release_can_be_asked_for_again(it: CurationBench) -> None:
    key = it.settings.state_dir / "builder" / "signing.key"
    key.parent.mkdir(parents=True)
    key.write_text("no key")
    await create(it, "a")

    async def failed() -> bool:
        return (await get(it, "a")).state == pb.DATA_RELEASE_STATE_FAILED

    await until_told(failed)
    assert (await get(it, "a")).failure
    key.unlink()
    assert (await built(it, "a")).images == 6


def builders() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        # It may end while it is looked at.
        with suppress(psutil.NoSuchProcess):
            if "horde.data_releases" in child.cmdline():
                found.append(child)
    return found


async def test_a_builder_ends_with_the_service_and_the_next_one_goes_on(tmp_path: Path) -> None:
    await shared_before(tmp_path)
    async with curation(tmp_path, clock=SystemClock()) as it:
        await create(it, "a")

        async def begun() -> bool:
            return bool(builders())

        await until_told(begun)
    assert builders() == []
    async with curation(tmp_path, clock=SystemClock()) as it:
        assert (await built(it, "a")).images == 6


async def test_the_list_is_newest_first_and_comes_in_pages(it: CurationBench) -> None:
    await built(it, "a")
    more = pb.ReleaseTerms(cool_off=Duration(), images_per_shard=4, incremental=True)
    second = await built(it, "b", more)
    # Of the same hour there is nothing new.
    assert (second.previous_name, second.images) == ("a", 0)
    names, token = [], ""
    while True:
        request = pb.ListDataReleasesRequest(page_size=1, page_token=token)
        answer = await it.releases.ListDataReleases(request, metadata=ANNA)
        names += [release.name for release in answer.releases]
        token = answer.next_page_token
        if not token:
            break
    assert names == ["b", "a"]


async def test_removals_are_told_at_once_also_between_two_releases(it: CurationBench) -> None:
    await built(it, "a")
    assert await removals(it, "a") == {}
    it.sharing.clock.at = datetime.now(UTC)
    await it.sharing.images.withdraw(job_id(1))

    async def told() -> bool:
        return set(await removals(it, "a")) == {job_id(1)}

    await until_told(told)
    removal = (await removals(it, "a"))[job_id(1)]
    assert (removal.reason, removal.release_name) == (pb.RELEASE_REMOVAL_REASON_WITHDRAWN, "a")
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    assert await removals(it, "a", after=later) == {}
    with assert_raises_reason(NotFound, "RELEASE_NOT_FOUND"):
        await removals(it, "nobodys")


async def test_an_image_is_a_releases_by_the_journal_also_where_the_store_says_another_time(tmp_path: Path) -> None:
    await shared_before(tmp_path)
    # As of a bucket that was copied; or of an entry that was written a moment before the hour, and kept a moment after.
    for path in (tmp_path / "shared").rglob("*"):
        os.utime(path)
    async with curation(tmp_path, clock=SystemClock(), follow_seconds=0.05) as it:
        await built(it, "a")
        it.sharing.clock.at = datetime.now(UTC)
        await it.sharing.images.withdraw(job_id(1))

        async def told() -> bool:
            return set(await removals(it, "a")) == {job_id(1)}

        await until_told(told)


async def estimated(it: CurationBench, name: str, terms: pb.ReleaseTerms = AT_ONCE) -> pb.DataRelease:
    request = pb.CreateDataReleaseRequest(name=name, terms=terms, dry_run=True)
    for _ in ticks():
        release: pb.DataRelease = (await it.releases.CreateDataRelease(request, metadata=OPS)).release
        if release.state != pb.DATA_RELEASE_STATE_BUILDING:
            return release
    raise AssertionError("it was never counted")


async def test_a_dry_run_says_what_a_release_would_hold_and_keeps_nothing(it: CurationBench) -> None:
    estimate = await estimated(it, "a")
    assert (estimate.images, estimate.removals, estimate.state, bool(estimate.exclusions)) == (6, 0, 0, False)
    assert estimate.size_bytes > 0
    with assert_raises_reason(NotFound, "RELEASE_NOT_FOUND"):
        await get(it, "a")
    young = await estimated(it, "a", pb.ReleaseTerms())
    assert young.images == 0
    assert [(left.reason, left.images) for left in young.exclusions] == [(pb.RELEASE_EXCLUSION_REASON_COOLING_OFF, 6)]
    release = await built(it, "a")
    assert release.images == estimate.images
    # A finished one is what it is, and other terms are another release.
    assert await estimated(it, "a") == release
    with assert_raises_reason(AlreadyExists, "RELEASE_CONFLICT"):
        await estimated(it, "a", pb.ReleaseTerms())


async def test_one_dry_run_at_a_time_and_it_is_told_to_who_asks_again(it: CurationBench) -> None:
    first = asyncio.create_task(estimated(it, "a"))

    async def begun() -> bool:
        return bool(builders())

    await until_told(begun)
    with assert_raises_reason(FailedPrecondition, "RELEASE_RUNNING"):
        await estimated(it, "b")
    first.cancel()

    async def over() -> bool:
        return not builders()

    await until_told(over)
    assert (await estimated(it, "a")).images == 6
    assert (await estimated(it, "b")).images == 6


async def test_where_an_operator_builds_a_dry_run_is_told_as_a_command(tmp_path: Path) -> None:
    async with curation(tmp_path, builder="operator") as it:
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
            await estimated(it, "a")
    assert fields_of(caught.value) == ["dry_run"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.CreateDataReleaseRequest(), ["name"]),
        (pb.CreateDataReleaseRequest(name="A"), ["name"]),
        (pb.CreateDataReleaseRequest(name="../a"), ["name"]),
        (pb.CreateDataReleaseRequest(name="A", dry_run=True), ["name"]),
        (
            pb.CreateDataReleaseRequest(
                name="a",
                terms=pb.ReleaseTerms(cool_off=Duration(seconds=5), images_per_shard=-1, bytes_per_shard=5),
            ),
            ["terms.cool_off", "terms.images_per_shard", "terms.bytes_per_shard"],
        ),
    ],
)
async def test_a_release_that_makes_no_sense_is_refused(
    it: CurationBench, request_: pb.CreateDataReleaseRequest, fields: list[str]
) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await it.releases.CreateDataRelease(request_, metadata=OPS)
    assert fields_of(caught.value) == fields


async def test_ratings_join_a_release_under_names_of_that_release_alone(it: CurationBench) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    async with sql_store(it.settings.url()) as store:

        async def known() -> bool:
            return len(await store.known([job_id(number) for number in range(6)])) == 6

        await until_told(known)
        for number, (account, score) in enumerate([("ann", 7), ("ann", 2), ("bob", 9)]):
            shown = Shown(job_id(number), long_ago)
            assert await store.show(account, shown, None, [])
            rating = Rating(job_id(number), account, score, number, long_ago, counted=True)
            assert await store.rate(rating, shown, due=False)
        await store.keep_record("ann", Record(weight=0.5), 0.5)
        too_new = Shown(job_id(3), datetime.now(UTC))
        assert await store.show("ann", too_new, None, [])
        assert await store.rate(Rating(job_id(3), "ann", 5, None, too_new.shown_at), too_new, due=False)
    await built(it, "a")
    rows = pq.read_table(it.settings.releases_dir / "releases" / "a" / "ratings.parquet").to_pylist()
    told = {(row["id"], row["rating"], row["artifacts"], row["weight"]) for row in rows}
    assert told == {(job_id(0), 7, 0, 0.5), (job_id(1), 2, 1, 0.5), (job_id(2), 9, 2, 0.0)}
    raters = {row["rater"] for row in rows}
    assert len(raters) == 2
    assert not raters & {"ann", "bob"}

    async def forgotten() -> bool:
        return not list((it.settings.state_dir / "builder").glob("ratings-*"))

    await until_told(forgotten)
