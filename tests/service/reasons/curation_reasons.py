"""Reasons that the curation service gives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.service.reasons.provoking import MODERATION, RATING, provokes, refusal

from horde.api.moderation.v1 import moderation_service_pb2 as moderation_pb2
from horde.api.rating.v1 import rating_service_pb2 as rating_pb2
from horde.services.errors import NotFound, ServiceError
from horde.testkit.curation import MODERATOR, curation, visitor
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
