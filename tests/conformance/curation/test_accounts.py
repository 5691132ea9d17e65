"""What every curation store must do with accounts that have ended: in SQLite, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.curation.test_curation_store import NOW, decision, image, rate, report, store

from horde.curation.core.images import Verdict
from horde.curation.core.rating import RaterState
from horde.curation.store.port import CurationStore

__all__ = ["store"]


async def test_a_rater_goes_with_its_ratings_a_few_at_a_time_and_nobody_else(store: CurationStore) -> None:
    await store.add_images([image(number) for number in range(1, 4)])
    for number in (1, 2, 3):
        await rate(store, number, "anna", 7)
    await rate(store, 1, "bert", 5)
    assert await store.forget_rater("anna", 2) == 1
    assert (await store.rater("anna", NOW)).ratings == 1
    for _ in range(2):
        assert await store.forget_rater("anna", 2) == 0
    assert await store.rater("anna", NOW) == RaterState("anna")
    assert await store.ratings("anna", 9, None) == []
    assert [rating.score for rating in await store.ratings("bert", 9, None)] == [5]
    assert [opinion.score for opinion in await store.opinions("image-1", "nobody")] == [5]


async def test_reports_lose_their_words_and_their_reporter_and_images_stand_as_they_stood(store: CurationStore) -> None:
    await store.add_images([image(number) for number in range(1, 4)])
    for number in (1, 2, 3):
        await store.report(replace(report(number), detail="what anna said"))
    await store.report(replace(report(1, "bert"), detail="what bert said"))
    await store.decide("image-2", decision(Verdict.UNSAFE))
    before = [await store.standing(f"image-{number}") for number in (1, 2, 3)]
    assert await store.forget_reporter("anna", 2) == 1
    for _ in range(2):
        assert await store.forget_reporter("anna", 2) == 0
    after = [await store.standing(f"image-{number}") for number in (1, 2, 3)]
    for was, found in zip(before, after, strict=True):
        assert was is not None
        assert found is not None
        assert found == replace(was, withheld_by=found.withheld_by)
        assert found.withheld_by != "anna"
        assert bool(found.withheld_by) == bool(was.withheld_by)
    case = await store.case("image-1")
    assert case is not None
    assert sorted((told.reporter == "bert", told.detail) for told in case.reports) == [
        (False, ""),
        (True, "what bert said"),
    ]
    decided = await store.case("image-2")
    assert decided is not None
    assert [each.moderator_account_id for each in decided.decisions] == [decision(Verdict.UNSAFE).moderator_account_id]
