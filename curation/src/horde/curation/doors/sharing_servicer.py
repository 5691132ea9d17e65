"""Of GenerationService what is about all that a requester ever shared; the rest is the gateway's own."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer
from horde.curation.core.errors import InvalidGenerationField
from horde.curation.core.fields import Fields
from horde.curation.core.images import SharedImage
from horde.curation.core.sharing import SharedPlace
from horde.curation.doors.visitors import visitor_of
from horde.curation.doors.wire import timestamp
from horde.curation.sharing import Sharing
from horde.services.pages import read_place, write_place

MAX_PAGE: Final = 500
USUAL_PAGE: Final = 100

Context = Any


class SharingServicer(GenerationServiceServicer):
    """Decode, call, encode."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    async def ListSharedImages(
        self, request: pb.ListSharedImagesRequest, context: Context
    ) -> pb.ListSharedImagesResponse:
        limit, after = read_list(request)
        # One more than is shown tells whether there are more.
        found = await self._sharing.list(visitor_of(context), limit + 1, after, request.generation_id)
        shown = found[:limit]
        last = shown[-1][0] if len(found) > limit else None
        return pb.ListSharedImagesResponse(
            images=[write_shared(image, releases, request.generation_id) for image, releases in shown],
            next_page_token="" if last is None else write_place(last.shared_at.isoformat(), last.image_id),
        )

    async def WithdrawAllShared(
        self, request: pb.WithdrawAllSharedRequest, context: Context
    ) -> pb.WithdrawAllSharedResponse:
        images, released = await self._sharing.withdraw_all(visitor_of(context), request.expected_images)
        return pb.WithdrawAllSharedResponse(images=images, released_images=released)


def read_list(request: pb.ListSharedImagesRequest) -> tuple[int, SharedPlace | None]:
    """How many, and behind which place. Raises InvalidGenerationField."""
    fields = Fields(InvalidGenerationField)
    limit = fields.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
    if request.generation_id and not _is_uuid(request.generation_id):
        fields.add("generation_id", "must be a UUID in lower case")
    after = None
    if request.page_token and not fields.found:
        place = read_place(request.page_token, str, str)
        after = None if place is None else _place(*place)
        if after is None:
            fields.add("page_token", "is not one that was given out")
    fields.check()
    return limit, after


def write_shared(image: SharedImage, releases: list[str], generation_id: str) -> generation_pb2.SharedImage:
    """An image, as its requester is told of it."""
    message = generation_pb2.SharedImage(
        generation_id=generation_id,
        job_id=image.image_id,
        shared_at=timestamp(image.shared_at),
        consent_text_version=image.consent_version,
        asked=image.asked,
        release_names=releases,
    )
    if image.withdrawn_at is not None:
        message.withdrawn_at.CopyFrom(timestamp(image.withdrawn_at))
    return message


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _place(shared_at: str, image_id: str) -> SharedPlace | None:
    try:
        at = datetime.fromisoformat(shared_at)
    except ValueError:
        return None
    return SharedPlace(at, image_id) if at.tzinfo else None
