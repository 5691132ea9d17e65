"""Reasons that the curation service gives."""

from __future__ import annotations

from pathlib import Path

from tests.service.reasons.provoking import MODERATION, provokes, refusal

from horde.api.moderation.v1 import moderation_service_pb2 as moderation_pb2
from horde.services.errors import ServiceError
from horde.testkit.curation import MODERATOR, curation, visitor


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
