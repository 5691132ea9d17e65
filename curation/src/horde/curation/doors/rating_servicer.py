"""RatingService on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from horde.api.rating.v1 import rating_service_pb2 as pb
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceServicer
from horde.curation.core.errors import InvalidRatingField, NothingToRate
from horde.curation.core.fields import Fields
from horde.curation.core.rating import LEAST_SCORE, MOST_ARTIFACTS, MOST_SCORE, Rating
from horde.curation.doors.visitors import visitor_of
from horde.curation.doors.wire import duration, timestamp
from horde.curation.ratings import Offer, Ratings, RatingStanding
from horde.curation.tickets import Tickets
from horde.services.pages import read_place, write_place

MAX_PAGE: Final = 100
USUAL_PAGE: Final = 20

Context = Any


class RatingServicer(RatingServiceServicer):
    """Decode, call, encode."""

    def __init__(self, ratings: Ratings, tickets: Tickets) -> None:
        self._ratings = ratings
        self._tickets = tickets

    async def GetNextImage(self, request: pb.GetNextImageRequest, context: Context) -> pb.GetNextImageResponse:
        offer = await self._ratings.next(visitor_of(context), read_skip(request))
        return pb.GetNextImageResponse(image=self._write_offer(offer))

    async def RateImage(self, request: pb.RateImageRequest, context: Context) -> pb.RateImageResponse:
        visitor = visitor_of(context)
        rating = await self._ratings.rate(visitor, *read_rating(request))
        try:
            following = self._write_offer(await self._ratings.next(visitor))
        except NothingToRate:
            following = None
        return pb.RateImageResponse(rating=write_rating(rating), next=following)

    async def ListRatings(self, request: pb.ListRatingsRequest, context: Context) -> pb.ListRatingsResponse:
        limit, after = read_page(request)
        # One more than is shown tells whether there are more.
        found = await self._ratings.list(visitor_of(context), limit + 1, after)
        shown = found[:limit]
        token = write_place(shown[-1].rated_at.isoformat(), shown[-1].image_id) if len(found) > limit else ""
        return pb.ListRatingsResponse(ratings=map(write_rating, shown), next_page_token=token)

    async def GetRatingStanding(
        self, request: pb.GetRatingStandingRequest, context: Context
    ) -> pb.GetRatingStandingResponse:
        return write_standing(await self._ratings.standing(visitor_of(context)))

    def _write_offer(self, offer: Offer) -> pb.RatableImage:
        image, ticket = offer.image, self._tickets.image(offer.image)
        return pb.RatableImage(
            image_id=image.image_id,
            prompt=image.prompt,
            width=image.width,
            height=image.height,
            address=ticket.address,
            ticket=ticket.token,
            expires_in=duration(ticket.expires_in),
            reward_mkudos=offer.reward_mkudos,
        )


def read_skip(request: pb.GetNextImageRequest) -> str:
    """What to leave out. Raises InvalidRatingField."""
    fields = Fields(InvalidRatingField)
    skip = fields.name("skip_image_id", request.skip_image_id) if request.skip_image_id else ""
    fields.check()
    return skip


def read_rating(request: pb.RateImageRequest) -> tuple[str, int, int | None]:
    """An image, a score, and artifacts if they are said. Raises InvalidRatingField."""
    fields = Fields(InvalidRatingField)
    image_id = fields.name("image_id", request.image_id)
    if not LEAST_SCORE <= request.score <= MOST_SCORE:
        fields.add("score", f"must be {LEAST_SCORE} to {MOST_SCORE}")
    artifacts = request.artifacts if request.HasField("artifacts") else None
    if artifacts is not None and not 0 <= artifacts <= MOST_ARTIFACTS:
        fields.add("artifacts", f"must be 0 to {MOST_ARTIFACTS}")
    fields.check()
    return image_id, request.score, artifacts


def read_page(request: pb.ListRatingsRequest) -> tuple[int, tuple[datetime, str] | None]:
    """How many at most, and behind which place. Raises InvalidRatingField."""
    fields = Fields(InvalidRatingField)
    limit = fields.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
    after = None
    if request.page_token and not fields.found:
        place = read_place(request.page_token, str, str)
        after = None if place is None else _place(*place)
        if after is None:
            fields.add("page_token", "is not one that was given out")
    fields.check()
    return limit, after


def _place(at: str, image_id: str) -> tuple[datetime, str] | None:
    try:
        rated_at = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (rated_at, image_id) if rated_at.tzinfo else None


def write_rating(rating: Rating) -> pb.Rating:
    """Say a rating."""
    return pb.Rating(
        image_id=rating.image_id,
        score=rating.score,
        artifacts=rating.artifacts,
        rated_at=timestamp(rating.rated_at),
        earned_mkudos=rating.earned_mkudos,
    )


def write_standing(standing: RatingStanding) -> pb.GetRatingStandingResponse:
    """Say how somebody's ratings are taken."""
    state = standing.state
    return pb.GetRatingStandingResponse(
        ratings=state.ratings,
        counted=state.counted,
        earned_today_mkudos=state.earned_today,
        left_today_mkudos=standing.left_today_mkudos,
        earning=not standing.why,
        why=standing.why,
        compared=state.record.checked,
        agreement_percent=round(100 * state.record.agreement),
    )
