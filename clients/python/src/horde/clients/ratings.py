"""Ratings of shared images: the next one, rating it, one's own ratings, and how they are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from horde.api.rating.v1 import rating_service_pb2 as pb
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceStub
from horde.clients.doors import Doors

PAGE_SIZE: Final = 100


class Ratings:
    """What the caller thinks of shared images. Needs an account."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = RatingServiceStub(doors.gateway)

    async def next(self, *, skip: str = "") -> pb.RatableImage:
        """The image to look at: the same one until it is rated, or skipped by its id. `images.fetch_shown` brings its
        bytes. Raises NotFound where there is nothing to rate."""
        request = pb.GetNextImageRequest(skip_image_id=skip)
        return (await self._doors.ask(self._stub.GetNextImage, request)).image

    async def rate(self, image_id: str, score: int, *, artifacts: int | None = None) -> pb.RateImageResponse:
        """Say what you think of the image that was shown: 1 (worst) to 10 (best), and how damaged it is, 0 to 5. Tells
        what is kept, and the next image if there is one.

        Raises FailedPrecondition for an image that was not shown, or that was shown only now.
        """
        request = pb.RateImageRequest(image_id=image_id, score=score, artifacts=artifacts)
        return await self._doors.ask(self._stub.RateImage, request)

    async def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[pb.Rating]:
        """The caller's ratings, newest first, page by page as it is read."""
        request = pb.ListRatingsRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListRatings, request)
            for rating in page.ratings:
                yield rating
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def standing(self) -> pb.GetRatingStandingResponse:
        """How the caller's ratings are taken, and what they earn."""
        return await self._doors.ask(self._stub.GetRatingStanding, pb.GetRatingStandingRequest())
