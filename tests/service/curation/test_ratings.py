"""Ratings over the wire: what is shown, what is taken, what is paid, and who is told why not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio

from horde.api.moderation.v1 import moderation_service_pb2 as moderation
from horde.api.rating.v1 import rating_service_pb2 as pb
from horde.curation.store.sql import sql_store
from horde.data_releases.core.plan import Plan
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb2
from horde.internal.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from horde.ledger.core.operations import Event
from horde.ledger.core.permissions import METHODS, SERVICE
from horde.ledger.doors.wire import event_of, outcome_message
from horde.services.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from horde.services.identity import AllowList, SharedKey
from horde.services.server import Registration, serving
from horde.testkit.curation import MODERATOR, CurationBench, curation, curation_settings, visitor
from horde.testkit.data_releases import START, Moment, Sharing, job_id, plain_folder
from horde.testkit.ledger import PureLedger
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import POLL_SECONDS, ticks

MOD = visitor("mod", roles=[MODERATOR])
IMAGES = 40


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


class Books(LedgerServiceServicer):
    """The ledger's own rules behind its contract, and away when it is told to be."""

    def __init__(self) -> None:
        self.ledger = PureLedger()
        self.away = False

    async def Apply(self, request: Any, context: Any) -> Any:
        if self.away:
            raise Unavailable("The ledger is away.")
        events = [event_of(event) for event in request.events]
        answers = self.ledger.apply(*[event for event in events if isinstance(event, Event)])
        return ledger_pb2.ApplyResponse(outcomes=[outcome_message(answer) for answer in answers])


@pytest.fixture
def books() -> Books:
    return Books()  # type: ignore[abstract]


@pytest_asyncio.fixture
async def it(tmp_path: Path, clock: ManualClock, books: Books) -> AsyncIterator[CurationBench]:
    async with plain_folder(tmp_path / "shared", Moment(START)) as bucket:
        for number in range(IMAGES):
            await Sharing(bucket).share(number, seed=number, painter="pat" if number % 4 else "")
    key = curation_settings(tmp_path).key_file
    assert key is not None
    door = Registration(add_LedgerServiceServicer_to_server, books, SERVICE)
    identity = SharedKey.from_file(key)
    async with (
        serving("127.0.0.1:0", [door], name="ledger", allow=AllowList(METHODS), identity=identity) as ledger,
        curation(tmp_path, clock=clock, ledger=f"127.0.0.1:{ledger.port}") as opened,
        sql_store(opened.settings.url()) as store,
    ):
        ids = [job_id(number) for number in range(IMAGES)]
        for _ in ticks():
            if len(await store.known(ids)) == IMAGES:
                break
            await asyncio.sleep(POLL_SECONDS)
        yield opened


async def show(it: CurationBench, who: Any = "ann", skip: str = "") -> pb.RatableImage:
    metadata = visitor(who) if isinstance(who, str) else who
    answer = await it.rating.GetNextImage(pb.GetNextImageRequest(skip_image_id=skip), metadata=metadata)
    image: pb.RatableImage = answer.image
    return image


async def rate(it: CurationBench, image_id: str, score: int, who: Any = "ann", **more: int) -> pb.RateImageResponse:
    metadata = visitor(who) if isinstance(who, str) else who
    request = pb.RateImageRequest(image_id=image_id, score=score, **more)
    answer: pb.RateImageResponse = await it.rating.RateImage(request, metadata=metadata)
    return answer


async def standing(it: CurationBench, who: str = "ann") -> pb.GetRatingStandingResponse:
    answer: pb.GetRatingStandingResponse = await it.rating.GetRatingStanding(
        pb.GetRatingStandingRequest(), metadata=visitor(who)
    )
    return answer


async def test_an_image_is_shown_until_it_is_rated_or_skipped(it: CurationBench, clock: ManualClock) -> None:
    first = await show(it)
    again = await show(it)
    assert (again.image_id, again.prompt) == (first.image_id, first.prompt)
    assert first.prompt.startswith("a red door, number")
    assert (first.width, first.height, first.address) == (64, 64, it.settings.storage_address)
    claims = jwt.decode(first.ticket, options={"verify_signature": False})
    assert (claims["act"], claims["job_id"], claims["reviewing"]) == ("get_shared", first.image_id, False)
    other = await show(it, skip=first.image_id)
    assert other.image_id != first.image_id
    assert (await show(it, skip=first.image_id)).image_id == other.image_id
    await clock.advance(5)
    answer = await rate(it, other.image_id, 7, artifacts=1)
    assert (answer.rating.score, answer.rating.artifacts, answer.rating.earned_mkudos) == (7, 1, 0)
    assert answer.next.image_id not in ("", first.image_id, other.image_id)
    assert (await show(it)).image_id == answer.next.image_id


async def test_nobody_is_shown_what_he_asked_for_or_painted_and_everything_else_once(
    it: CurationBench, clock: ManualClock
) -> None:
    # The kit's images are asked for by user-0 to user-4 in turn.
    seen = []
    with pytest.raises(NotFound):
        while True:
            image = await show(it, "user-3")
            seen.append(image.image_id)
            await clock.advance(5)
            await rate(it, image.image_id, 5, "user-3")
    assert sorted(seen) == sorted(job_id(number) for number in range(IMAGES) if number % 5 != 3)
    with assert_raises_reason(NotFound, "NOTHING_TO_RATE"):
        await show(it, "user-3")
    painted = {(await show(it, "pat")).image_id}
    with pytest.raises(NotFound):
        while True:
            await clock.advance(5)
            painted.add((await rate(it, (await show(it, "pat")).image_id, 5, "pat")).next.image_id)
    assert painted - {""} == {job_id(number) for number in range(0, IMAGES, 4)}


async def test_only_what_was_shown_can_be_rated_and_not_at_once(it: CurationBench, clock: ManualClock) -> None:
    with assert_raises_reason(FailedPrecondition, "IMAGE_NOT_SHOWN", {"image_id": job_id(1)}):
        await rate(it, job_id(1), 5)
    image = await show(it)
    with assert_raises_reason(FailedPrecondition, "RATED_TOO_FAST") as caught:
        await rate(it, image.image_id, 5)
    assert caught.value.retry_after == timedelta(seconds=1.5)
    await clock.advance(1.5)
    await rate(it, image.image_id, 5)


async def test_a_rating_is_repeated_replaced_within_a_day_and_final_then(it: CurationBench, clock: ManualClock) -> None:
    image = await show(it)
    await clock.advance(5)
    first = await rate(it, image.image_id, 5)
    same = await rate(it, image.image_id, 5)
    assert same.rating == first.rating
    await clock.advance(23 * 3600)
    replaced = await rate(it, image.image_id, 9, artifacts=2)
    assert (replaced.rating.score, replaced.rating.artifacts) == (9, 2)
    assert replaced.rating.rated_at == first.rating.rated_at
    await clock.advance(1 * 3600)
    with assert_raises_reason(FailedPrecondition, "IMAGE_NOT_SHOWN"):
        await rate(it, image.image_id, 8)
    assert (await rate(it, image.image_id, 9, artifacts=2)).rating == replaced.rating


async def test_what_was_withdrawn_or_waits_for_a_moderator_is_shown_to_nobody(
    it: CurationBench, clock: ManualClock
) -> None:
    image = await show(it)
    await it.sharing.images.withdraw(image.image_id)
    for _ in ticks():
        await clock.advance(it.settings.follow_seconds)
        if (await show(it)).image_id != image.image_id:
            break
    await clock.advance(5)
    with assert_raises_reason(FailedPrecondition, "IMAGE_NOT_SHOWN"):
        await rate(it, image.image_id, 5)
    reported = (await show(it)).image_id
    report = moderation.ReportImageRequest(image_id=reported, reason=moderation.REPORT_REASON_VIOLENT)
    await it.moderation.ReportImage(report, metadata=visitor("cat"))
    decision = moderation.DecideCaseRequest(case_id=reported, verdict=moderation.VERDICT_UNSAFE, why="looked")
    await it.moderation.DecideCase(decision, metadata=MOD)
    assert (await show(it)).image_id != reported


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.RateImageRequest(), ["image_id", "score"]),
        (pb.RateImageRequest(image_id="../x", score=11, artifacts=6), ["image_id", "score", "artifacts"]),
        (pb.RateImageRequest(image_id="x", score=-1, artifacts=-1), ["score", "artifacts"]),
    ],
)
async def test_a_rating_that_makes_no_sense_is_refused(
    it: CurationBench, request_: pb.RateImageRequest, fields: list[str]
) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await it.rating.RateImage(request_, metadata=visitor())
    assert fields_of(caught.value) == fields


async def test_ones_own_ratings_are_listed_newest_first_in_pages(it: CurationBench, clock: ManualClock) -> None:
    rated = []
    for score in range(1, 6):
        image = await show(it)
        await clock.advance(5)
        await rate(it, image.image_id, score)
        rated.append(image.image_id)
    listed: list[str] = []
    token = ""
    while True:
        page = await it.rating.ListRatings(
            pb.ListRatingsRequest(page_size=2, page_token=token), metadata=visitor("ann")
        )
        listed += [rating.image_id for rating in page.ratings]
        token = page.next_page_token
        if not token:
            break
    assert listed == rated[::-1]
    other = await it.rating.ListRatings(pb.ListRatingsRequest(), metadata=visitor("bob"))
    assert not other.ratings
    for wrong in ("x", "WyJhIiwiYiJd"):
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
            await it.rating.ListRatings(pb.ListRatingsRequest(page_token=wrong), metadata=visitor("ann"))


def worth(image_id: str) -> int:
    """What everybody who looks sees in an image."""
    return 1 + int(image_id[-2:], 16) % 10


async def look(it: CurationBench, clock: ManualClock, who: Any, count: int) -> list[pb.Rating]:
    """Rate as somebody who looks."""
    given = []
    for _ in range(count):
        image = await show(it, who)
        await clock.advance(5)
        given.append((await rate(it, image.image_id, worth(image.image_id), who)).rating)
    return given


async def test_who_looks_comes_to_earn_and_who_does_not_is_told_why(
    it: CurationBench, clock: ManualClock, books: Books
) -> None:
    assert "compared" in (await standing(it)).why
    await look(it, clock, MOD, IMAGES)
    await look(it, clock, "ann", 30)
    told = await standing(it)
    assert (told.ratings, told.earning, told.why, told.compared) == (30, True, "", 30)
    assert told.agreement_percent > 95
    (rating,) = await look(it, clock, "ann", 1)
    assert rating.earned_mkudos == 1000
    assert (await standing(it)).earned_today_mkudos == books.ledger.spend("ann") >= 1000
    for _ in range(31):
        image = await show(it, "bob")
        await clock.advance(5)
        await rate(it, image.image_id, 5, "bob")
    other = await standing(it, "bob")
    assert (other.ratings, other.earning, other.earned_today_mkudos) == (31, False, 0)
    assert other.why


def publish(it: CurationBench, name: str, as_of: datetime) -> None:
    """What a builder leaves of a finished release, as far as curation reads it."""
    plan = Plan(name, as_of, None, START, cool_off_hours=0)
    note = {"plan": plan.to_json(), "images": 1, "bytes": 1, "removed": 0, "checksums_sha256": ""}
    told = {
        f"releases/{name}/stats.json": {"ratings": 1, "left_out": {}},
        f"releases/{name}/release.json": {"shards": 1},
        f"finished/{name}.json": note,
    }
    for path, document in told.items():
        file = it.settings.releases_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))


async def test_nobody_is_asked_what_a_data_release_answers(it: CurationBench, clock: ManualClock) -> None:
    (unrated,) = {job_id(number) for number in range(IMAGES)} - {
        rating.image_id for rating in await look(it, clock, MOD, IMAGES - 1)
    }
    held = await show(it, "bob", skip=unrated)
    assert held.image_id != unrated
    await clock.advance(3 * 3600)
    publish(it, "a", clock.now())
    # Of what he is looking at, too: he may have waited for it.
    with assert_raises_reason(FailedPrecondition, "IMAGE_NOT_SHOWN"):
        await rate(it, held.image_id, worth(held.image_id), "bob")
    # Of the one that nobody has rated nothing can be looked up.
    assert (await show(it, "bob")).image_id == unrated
    assert (await show(it, "ann")).image_id == unrated
    await rate_after_a_look(it, clock, unrated, "ann")
    with assert_raises_reason(NotFound, "NOTHING_TO_RATE"):
        await show(it, "ann")
    # What was said since is in the next one.
    await rate_after_a_look(it, clock, unrated, "bob")
    publish(it, "b", clock.now())
    await clock.advance(10)
    with assert_raises_reason(NotFound, "NOTHING_TO_RATE"):
        await show(it, "cat")


async def rate_after_a_look(it: CurationBench, clock: ManualClock, image_id: str, who: str) -> None:
    await clock.advance(5)
    await rate(it, image_id, worth(image_id), who)


async def test_what_the_ledger_could_not_pay_at_once_is_paid_later_and_once(
    it: CurationBench, clock: ManualClock, books: Books
) -> None:
    await look(it, clock, MOD, IMAGES)
    await look(it, clock, "ann", 30)
    before = books.ledger.spend("ann")
    books.away = True
    (rating,) = await look(it, clock, "ann", 1)
    assert rating.earned_mkudos == 1000
    assert books.ledger.spend("ann") == before
    books.away = False
    for _ in ticks():
        await clock.advance(10)
        if books.ledger.spend("ann") != before:
            break
        await asyncio.sleep(POLL_SECONDS)
    assert books.ledger.spend("ann") == before + 1000
    assert (await rate(it, rating.image_id, rating.score)).rating.earned_mkudos == 1000
    assert books.ledger.audit().finding is None
