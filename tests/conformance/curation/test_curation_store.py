"""What every curation store must do: in SQLite, in PostgreSQL. None is ever skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from horde.curation.core.cases import MAX_WITHHELD_BY_ONE, Decision, Reason, Report, Standing, Voice
from horde.curation.core.images import SharedImage, Verdict
from horde.curation.core.rating import RULES, Answer, Due, Opinion, Rater, RaterState, Rating, Record, Shown
from horde.curation.core.rating_choice import Kind
from horde.curation.core.releases import Published
from horde.curation.store.port import CurationStore
from horde.curation.store.sql import sql_store

NOW = datetime(2026, 11, 26, 10, 2, 3, 456789, tzinfo=UTC)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CurationStore]:
    url = f"sqlite:///{tmp_path / 'curation.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as opened:
        yield opened


def hour(number: int) -> datetime:
    """Of the journal."""
    return NOW.replace(minute=0, second=0, microsecond=0) + timedelta(hours=number)


def image(number: int) -> SharedImage:
    return SharedImage(
        image_id=f"image-{number}",
        requester=f"{number % 3:064x}",
        prompt=f"a red door, number {number} — ☃",
        negative_prompt="blurry",
        model="paintbox",
        width=512,
        height=768,
        format="WEBP",
        sha256=f"{number:064x}",
        size_bytes=5_000_000_000,
        shared_at=NOW + timedelta(seconds=number),
        journal_hour=hour(number),
    )


async def test_what_is_kept_is_what_is_read(store: CurationStore) -> None:
    unsure = replace(image(2), worker_verdict=Verdict.UNSURE, verdict=Verdict.UNSURE)
    await store.add_images([image(1), unsure])
    assert await store.image("image-1") == image(1)
    assert await store.image("image-2") == unsure
    assert await store.image("image-3") is None
    assert await store.known(["image-1", "image-2", "image-3"]) == {"image-1": hour(1), "image-2": hour(2)}
    assert await store.known([]) == {}


async def test_an_image_that_is_known_stays_as_it_is(store: CurationStore) -> None:
    await store.add_images([image(1)])
    await store.add_images([replace(image(1), prompt="another"), image(2), image(2)])
    assert await store.image("image-1") == image(1)
    assert await store.image("image-2") == image(2)


async def test_of_an_images_hours_of_the_journal_the_first_counts_also_one_that_named_it_before_it_was_there(
    store: CurationStore,
) -> None:
    await store.add_images([image(1), replace(image(2), journal_hour=None)])
    assert await store.known(["image-2"]) == {"image-2": None}
    await store.keep_hour(["image-1", "image-2", "image-3", "image-4"], hour(3), hour(0))
    await store.keep_hour(["image-3", "image-4"], hour(4), hour(0))
    # Too long ago for what has never come.
    await store.keep_hour(["image-5"], hour(1), hour(0))
    await store.keep_hour([], hour(9), hour(2))
    await store.add_images([replace(image(number), journal_hour=hour(7)) for number in (3, 5)])
    await store.add_images([replace(image(4), journal_hour=hour(2))])
    hours = {"image-1": 1, "image-2": 3, "image-3": 3, "image-4": 2, "image-5": 7}
    assert await store.known(list(hours)) == {image_id: hour(number) for image_id, number in hours.items()}
    await store.keep_hour(["image-5"], hour(6), hour(0))
    found = await store.image("image-5")
    assert found is not None
    assert found.journal_hour == hour(6)


async def test_the_first_withdrawal_counts(store: CurationStore) -> None:
    await store.add_images([image(1), image(2)])
    await store.withdraw_images({"image-1": NOW, "image-9": NOW})
    await store.withdraw_images({"image-1": NOW + timedelta(hours=1)})
    await store.withdraw_images({})
    assert await store.image("image-1") == replace(image(1), withdrawn_at=NOW)
    assert await store.image("image-2") == image(2)
    assert await store.image("image-9") is None


async def test_a_place_moves_on(store: CurationStore) -> None:
    assert await store.place("journal") is None
    await store.keep_place("journal", NOW)
    await store.keep_place("withdrawals", NOW + timedelta(hours=2))
    await store.keep_place("journal", NOW + timedelta(hours=1))
    assert await store.place("journal") == NOW + timedelta(hours=1)
    assert await store.place("withdrawals") == NOW + timedelta(hours=2)


def report(number: int, reporter: str = "anna", reason: Reason = Reason.VIOLENT, at: int = 0) -> Report:
    return Report(f"report-{number}-{reporter}", f"image-{number}", reporter, reason, "☃", NOW + timedelta(seconds=at))


def decision(verdict: Verdict, at: int = 0, reason: Reason = Reason.NONE) -> Decision:
    return Decision(verdict, "mod", NOW + timedelta(minutes=at), "looked", reason)


async def ids(store: CurationStore, *verdicts: Verdict, limit: int = 10) -> list[str]:
    return [case.image.image_id for case in await store.cases(verdicts, limit)]


async def test_a_report_opens_a_case_and_the_same_persons_second_replaces_it(store: CurationStore) -> None:
    await store.add_images([image(1)])
    assert await store.case("image-1") is None
    assert await store.report(report(1)) == "report-1-anna"
    assert await store.report(report(2)) is None
    again = replace(report(1, reason=Reason.OTHER, at=5), report_id="another")
    assert await store.report(again) == "report-1-anna"
    await store.report(report(1, "bert", at=3))
    case = await store.case("image-1")
    assert case is not None
    assert case.standing == Standing(Verdict.UNSURE, opened_at=NOW, reports=2)
    assert [(told.reporter, told.reason) for told in case.reports] == [
        ("anna", Reason.OTHER),
        ("bert", Reason.VIOLENT),
    ]
    assert case.image == replace(image(1), verdict=Verdict.UNSURE)


async def test_what_was_withdrawn_is_nothing_to_report(store: CurationStore) -> None:
    await store.add_images([image(1)])
    await store.withdraw_images({"image-1": NOW})
    assert await store.report(report(1)) is None


async def test_decisions_are_kept_all_of_them_and_the_last_stands(store: CurationStore) -> None:
    await store.add_images([image(1), replace(image(2), worker_verdict=Verdict.UNSURE, verdict=Verdict.UNSURE)])
    assert await store.decide("image-1", decision(Verdict.SAFE)) is None
    assert await store.decide("image-9", decision(Verdict.SAFE)) is None
    await store.report(report(1))
    unsafe, safe = decision(Verdict.UNSAFE, 1, Reason.CHILD_SAFETY), decision(Verdict.SAFE, 3)
    case = await store.decide("image-1", unsafe)
    assert case is not None
    assert (case.decisions, case.image.verdict, case.image.withheld) == ([unsafe], Verdict.UNSAFE, True)
    assert await store.decide("image-1", decision(Verdict.UNSAFE, 2, Reason.CHILD_SAFETY)) == case
    case = await store.decide("image-1", safe)
    assert case is not None
    assert (case.decisions, case.image.verdict, case.image.withheld) == ([unsafe, safe], Verdict.SAFE, False)
    # The same person may report it again: it is one report since the decision.
    await store.report(report(1, at=9))
    case = await store.case("image-1")
    assert case is not None
    assert case.standing.reports == 1
    case = await store.case("image-2")
    assert case is not None
    assert case.voices == [Voice("worker", Verdict.UNSURE)]


async def test_the_queue_has_an_order_and_pages(store: CurationStore) -> None:
    await store.add_images([image(number) for number in range(1, 8)])
    for number in range(1, 6):
        await store.report(report(number, at=number))
    await store.report(report(4, "bert", at=9))
    await store.report(report(5, "bert", Reason.CHILD_SAFETY, at=9))
    await store.decide("image-3", decision(Verdict.SAFE))
    await store.decide("image-2", decision(Verdict.UNSAFE))
    waiting = ["image-5", "image-4", "image-1"]
    assert await ids(store, Verdict.NONE, Verdict.UNSURE) == waiting
    assert await ids(store, Verdict.SAFE, Verdict.UNSAFE) == ["image-2", "image-3"]
    assert await ids(store, Verdict.SAFE) == ["image-3"]
    walked, place = [], None
    while page := await store.cases([Verdict.UNSURE], 1, place):
        walked += [case.image.image_id for case in page]
        place = page[-1].place
    assert walked == waiting


async def test_what_the_bucket_has_to_be_told_is_known_until_it_was_told(store: CurationStore) -> None:
    await store.add_images([image(1), image(2)])
    assert list(await store.untold(10)) == []
    await store.report(report(1))
    await store.report(report(2))
    assert sorted(await store.untold(10)) == ["image-1", "image-2"]
    assert len(await store.untold(1)) == 1
    old = await store.standing("image-1")
    assert old is not None
    await store.decide("image-1", decision(Verdict.SAFE))
    assert not await store.told("image-1", old)
    new = await store.standing("image-1")
    assert new is not None
    assert await store.told("image-1", new)
    assert list(await store.untold(10)) == ["image-2"]
    assert await store.standing("image-9") is None
    assert not await store.told("image-9", new)


async def test_one_withholds_only_so_many_on_a_word_alone(store: CurationStore) -> None:
    many = range(MAX_WITHHELD_BY_ONE + 2)
    await store.add_images([image(number) for number in many])
    for number in many:
        await store.report(report(number, reason=Reason.CHILD_SAFETY))
    withheld = [case.image.image_id for case in await store.cases([Verdict.UNSURE], 100) if case.image.withheld]
    assert len(withheld) == MAX_WITHHELD_BY_ONE
    # Once somebody has looked there is room again.
    await store.decide(withheld[0], decision(Verdict.UNSAFE, reason=Reason.CHILD_SAFETY))
    await store.add_images([image(100)])
    await store.report(report(100, reason=Reason.CHILD_SAFETY))
    found = await store.image("image-100")
    assert found is not None
    assert found.withheld


async def rate(store: CurationStore, number: int, account: str, score: int, **more: Any) -> None:
    shown = Shown(f"image-{number}", NOW, more.pop("known", None))
    state = await store.rater(account, NOW)
    looking = None if state.looking_at is None else state.looking_at.image_id
    assert await store.show(account, shown, looking, [])
    told = {"artifacts": None, "counted": True, "rated_at": NOW, **more}
    due = told.pop("due", False)
    assert await store.rate(Rating(f"image-{number}", account, score, **told), shown, due=due)


async def test_what_somebody_is_shown_is_kept_and_shown_once(store: CurationStore) -> None:
    await store.add_images([image(1), image(2)])
    assert await store.rater("ann", NOW) == RaterState("ann")
    assert await store.show("ann", Shown("image-1", NOW, 7.5), None, ["image-2"])
    # Somebody who looks at something else by now is shown that.
    assert not await store.show("ann", Shown("image-2", NOW), None, [])
    state = await store.rater("ann", NOW)
    assert state.looking_at == Shown("image-1", NOW, 7.5)
    assert (state.skipped_today(NOW), state.skipped_today(NOW + timedelta(days=1))) == (("image-2",), ())
    other = Rating("image-2", "ann", 5, None, NOW)
    assert not await store.rate(other, Shown("image-2", NOW), due=False)
    rating = Rating("image-1", "ann", 5, 0, NOW, 1_000, counted=True)
    assert await store.rate(rating, Shown("image-1", NOW, 7.5), due=True)
    assert not await store.rate(rating, Shown("image-1", NOW, 7.5), due=True)
    assert await store.rating("ann", "image-1") == rating
    assert await store.rating("bob", "image-1") is None
    state = await store.rater("ann", NOW)
    assert (state.looking_at, state.ratings, state.counted, state.earned_today) == (None, 1, 1, 1_000)
    assert (await store.rater("ann", NOW + timedelta(days=1))).earned_today == 0


async def test_candidates_are_of_their_kind_and_nobodys_own(store: CurationStore) -> None:
    await store.add_images([replace(image(number), painter=f"p{number % 2}") for number in range(12)])
    ann = Rater("ann", f"{0:064x}", "p1")
    fit = {f"image-{number}" for number in range(12) if number % 3 and not number % 2}

    async def of(kind: Kind, skipped: Sequence[str] = ()) -> set[str]:
        found = await store.candidates(kind, ann, skipped, Random(1), RULES)
        return {candidate.image_id for candidate in found}

    assert await of(Kind.FRESH) == fit
    assert await of(Kind.BEGUN) == await of(Kind.GOLD) == set()
    await rate(store, 4, "bob", 6)
    await rate(store, 8, "bob", 6, counted=False)
    await store.keep_answer("image-10", 8.5)
    assert await of(Kind.BEGUN) == {"image-4"}
    assert await of(Kind.FRESH) == fit - {"image-4"}
    assert await of(Kind.GOLD) == {"image-10"}
    (gold,) = await store.candidates(Kind.GOLD, ann, [], Random(1), RULES)
    assert (gold.answer, gold.ratings, gold.painter) == (8.5, 0, "p0")
    await rate(store, 10, "ann", 6)
    await store.withdraw_images({"image-2": NOW})
    assert await of(Kind.GOLD) == set()
    assert await of(Kind.FRESH, ["image-8"]) == set()
    for who in ("cat", "dan", "eve", "fay"):
        await rate(store, 4, who, 6)
    assert await of(Kind.BEGUN) == set()


async def test_what_a_release_answers_is_no_candidate(store: CurationStore) -> None:
    await store.add_images([replace(image(4), requester=""), replace(image(5), requester="", journal_hour=None)])
    for number in (4, 5):
        await rate(store, number, "bob", 6)
        await store.keep_answer(f"image-{number}", 6.0)
    after = NOW + timedelta(seconds=1)
    for published, open_ in (
        (None, {"image-4", "image-5"}),
        # The first hour that it does not have; and what was said only later.
        (Published(hour(4), after), {"image-4"}),
        (Published(hour(5), NOW), {"image-4", "image-5"}),
        (Published(hour(5), after), set()),
    ):
        for kind in (Kind.BEGUN, Kind.GOLD):
            found = await store.candidates(kind, Rater("ann", f"{0:064x}"), [], Random(1), RULES, published)
            assert {candidate.image_id for candidate in found} == open_
        if published is not None:
            assert await store.is_published("image-4", published) == ("image-4" not in open_)
    assert not await store.is_published("image-9", Published(hour(5), after))


async def test_somebodys_answers_come_with_what_others_say_and_how_much_their_words_count(store: CurationStore) -> None:
    await store.add_images([image(1), image(2)])
    await rate(store, 1, "bob", 9)
    await store.keep_record("bob", Record(checked=40, agreement=0.5, certain=0.25, weight=0.75), 0.75)
    await rate(store, 1, "ann", 3)
    await rate(store, 2, "ann", 4, known=8.0, rated_at=NOW + timedelta(seconds=1))
    await store.replace_rating(Rating("image-2", "ann", 8, 1, NOW))
    assert await store.answers("ann", 10) == [Answer(4, (), 8.0), Answer(3, (Opinion(9, 0.75),))]
    assert [answer.score for answer in await store.answers("ann", 1)] == [4]
    assert await store.opinions("image-1", "ann") == [Opinion(9, 0.75)]
    kept = await store.rating("ann", "image-2")
    assert kept is not None
    assert (kept.score, kept.artifacts) == (8, 1)
    assert (await store.rater("bob", NOW)).record == Record(checked=40, agreement=0.5, certain=0.25, weight=0.75)


async def test_what_is_due_is_found_until_it_is_paid(store: CurationStore) -> None:
    await store.add_images([image(1), image(2), image(3)])
    await rate(store, 1, "ann", 3, earned_mkudos=1_000, due=True, rated_at=NOW + timedelta(seconds=1))
    await rate(store, 2, "ann", 3, earned_mkudos=500, due=True)
    await rate(store, 3, "ann", 3)
    assert await store.due(10) == [Due("image-2", "ann", 500), Due("image-1", "ann", 1_000)]
    await store.paid(Due("image-2", "ann", 500), 0)
    assert await store.due(10) == [Due("image-1", "ann", 1_000)]
    assert (await store.rater("ann", NOW)).earned_today == 1_000


async def test_ratings_are_listed_newest_first_and_exported_by_image_without_what_was_withdrawn(
    store: CurationStore,
) -> None:
    await store.add_images([image(number) for number in range(4)])
    for number in range(4):
        await rate(store, number, "ann", 5, rated_at=NOW + timedelta(seconds=number))
    await rate(store, 1, "bob", 7)
    listed = await store.ratings("ann", 2, None)
    assert [rating.image_id for rating in listed] == ["image-3", "image-2"]
    rest = await store.ratings("ann", 9, (listed[-1].rated_at, listed[-1].image_id))
    assert [rating.image_id for rating in rest] == ["image-1", "image-0"]
    await store.withdraw_images({"image-0": NOW})
    until = NOW + timedelta(seconds=3)
    first = await store.export(until, ("", ""), 2)
    assert [(rating.image_id, rating.account_id) for rating, _ in first] == [("image-1", "ann"), ("image-1", "bob")]
    assert [rating.image_id for rating, _ in await store.export(until, ("image-1", "bob"), 2)] == ["image-2"]
