"""Reasons that the curation service gives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.service.reasons.provoking import MODERATION, RATING, RELEASE, provokes, refusal

from horde.api.moderation.v1 import moderation_service_pb2 as moderation_pb2
from horde.api.rating.v1 import rating_service_pb2 as rating_pb2
from horde.api.release.v1 import data_release_service_pb2 as release_pb2
from horde.services.errors import NotFound, ServiceError
from horde.testkit.curation import MODERATOR, OPERATOR, CurationBench, curation, visitor
from horde.testkit.data_releases import START, Moment, Sharing, plain_folder
from horde.testkit.waiting import POLL_SECONDS, ticks


@provokes(MODERATION, "INVALID_FIELD")
async def report_nothing(folder: Path) -> ServiceError:
    async with curation(folder) as it:
        return await refusal(it.moderation.ReportImage(moderation_pb2.ReportImageRequest(), metadata=visitor()))


@provokes(MODERATION, "IMAGE_NOT_FOUND")
async def report_what_nobody_shared(folder: Path) -> ServiceError:
    request = moderation_pb2.ReportImageRequest(image_id="nobodys", reason=moderation_pb2.REPORT_REASON_OTHER)
    async with curation(folder) as it:
        return await refusal(it.moderation.ReportImage(request, metadata=visitor()))


@provokes(MODERATION, "CASE_NOT_FOUND")
async def look_at_no_case(folder: Path) -> ServiceError:
    request = moderation_pb2.GetCaseRequest(case_id="nobodys")
    async with curation(folder) as it:
        return await refusal(it.moderation.GetCase(request, metadata=visitor(roles=[MODERATOR])))


OPS = visitor("ops", roles=[OPERATOR])
FINISHED = {
    "plan": {
        "release_id": "a",
        "as_of": "2026-11-01T00:00:00+00:00",
        "since": "2026-10-01T00:00:00+00:00",
        "previous": None,
        "cool_off_hours": 168,
        "samples": 1_000,
        "shard_bytes": 1 << 30,
        "contact_data": False,
        "unsure": False,
    },
    "parts": 0,
    "images": 0,
    "bytes": 0,
    "removed": 0,
    "checksums_sha256": "00" * 32,
}
"""What a builder notes of a release, as far as it is read."""


async def create(it: CurationBench, name: str, **terms: int) -> release_pb2.CreateDataReleaseResponse:
    request = release_pb2.CreateDataReleaseRequest(name=name, terms=release_pb2.ReleaseTerms(**terms))  # type: ignore[arg-type]
    answer: release_pb2.CreateDataReleaseResponse = await it.releases.CreateDataRelease(request, metadata=OPS)
    return answer


@provokes(RELEASE, "INVALID_FIELD")
async def make_a_release_without_a_name(folder: Path) -> ServiceError:
    async with curation(folder) as it:
        return await refusal(create(it, ""))


@provokes(RELEASE, "RELEASE_NOT_FOUND")
async def look_at_no_release(folder: Path) -> ServiceError:
    async with curation(folder) as it:
        return await refusal(
            it.releases.GetDataRelease(release_pb2.GetDataReleaseRequest(name="nobodys"), metadata=visitor())
        )


@provokes(RELEASE, "RELEASE_CONFLICT")
async def make_a_release_in_other_terms(folder: Path) -> ServiceError:
    async with curation(folder, builder="operator") as it:
        await create(it, "a")
        return await refusal(create(it, "a", images_per_shard=7))


@provokes(RELEASE, "RELEASE_RUNNING")
async def make_two_releases_at_once(folder: Path) -> ServiceError:
    async with curation(folder, builder="operator") as it:
        await create(it, "a")
        return await refusal(create(it, "b"))


@provokes(RELEASE, "RELEASE_FINISHED")
async def cancel_what_is_finished(folder: Path) -> ServiceError:
    for path, content in {
        "finished/a.json": FINISHED,
        "releases/a/stats.json": {"left_out": {}, "ratings": 0},
        "releases/a/release.json": {"shards": 0},
    }.items():
        file = folder / "releases" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    async with curation(folder, builder="operator") as it:
        return await refusal(
            it.releases.CancelDataRelease(release_pb2.CancelDataReleaseRequest(name="a"), metadata=OPS)
        )


@provokes(RATING, "INVALID_FIELD")
async def rate_nothing(folder: Path) -> ServiceError:
    async with curation(folder) as it:
        return await refusal(it.rating.RateImage(rating_pb2.RateImageRequest(), metadata=visitor()))


@provokes(RATING, "NOTHING_TO_RATE")
async def be_shown_what_nobody_shared(folder: Path) -> ServiceError:
    async with curation(folder) as it:
        return await refusal(it.rating.GetNextImage(rating_pb2.GetNextImageRequest(), metadata=visitor()))


@provokes(RATING, "IMAGE_NOT_SHOWN")
async def rate_what_was_not_shown(folder: Path) -> ServiceError:
    request = rating_pb2.RateImageRequest(image_id="nobodys", score=5)
    async with curation(folder) as it:
        return await refusal(it.rating.RateImage(request, metadata=visitor()))


@provokes(RATING, "RATED_TOO_FAST")
async def rate_without_looking(folder: Path) -> ServiceError:
    async with plain_folder(folder / "shared", Moment(START)) as bucket:
        image_id = await Sharing(bucket).share(1)
    async with curation(folder) as it:
        for _ in ticks():
            try:
                await it.rating.GetNextImage(rating_pb2.GetNextImageRequest(), metadata=visitor())
                break
            except NotFound:
                await asyncio.sleep(POLL_SECONDS)
        request = rating_pb2.RateImageRequest(image_id=image_id, score=5)
        return await refusal(it.rating.RateImage(request, metadata=visitor()))
