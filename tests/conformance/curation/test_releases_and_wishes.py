"""What every curation store must do about data releases and about what people take back: in SQLite, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.conformance.curation.test_curation_store import NOW, decision, hour, image, report, store

from horde.curation.core.images import Verdict
from horde.curation.core.releases import Asked, State, Terms
from horde.curation.core.removals import Removal
from horde.curation.core.sharing import SharedPlace, Wish
from horde.curation.store.port import CurationStore

__all__ = ["store"]

MINE, YOURS = f"{1:064x}", f"{2:064x}"
LATER = NOW + timedelta(days=1)


def asked(name: str, images_per_shard: int = 1_000) -> Asked:
    return Asked(name, Terms(images_per_shard=images_per_shard), NOW, "ops")


async def test_one_release_is_built_at_a_time_and_what_failed_can_be_asked_for_again(store: CurationStore) -> None:
    first, other_terms = asked("a"), asked("a", images_per_shard=7)
    assert await store.building() is None
    assert await store.ask(first) == first == await store.building()
    assert await store.ask(asked("b")) == first
    assert await store.ask(other_terms) == first
    await store.end("a", State.FAILED, "full disk")
    failed = replace(first, state=State.FAILED, failure="full disk")
    assert await store.asked("a") == failed
    # What has ended ends once.
    await store.end("a", State.FINISHED)
    assert await store.ask(other_terms) == failed
    assert await store.ask(replace(first, created_at=LATER)) == first
    await store.end("a", State.FINISHED)
    second = replace(asked("b"), created_at=LATER)
    assert await store.ask(second) == second
    assert [found.name for found in await store.all_asked()] == ["b", "a"]
    assert await store.asked("nobodys") is None


async def test_removals_are_what_was_withdrawn_and_what_was_found_unsafe_in_the_order_in_which_that_was(
    store: CurationStore,
) -> None:
    await store.add_images([image(number) for number in range(1, 8)])
    await store.withdraw_images({"image-1": LATER, "image-2": NOW + timedelta(hours=1)})
    for number, verdict in ((3, Verdict.UNSAFE), (4, Verdict.SAFE), (1, Verdict.UNSAFE)):
        await store.report(report(number))
        await store.decide(f"image-{number}", decision(verdict, at=number))
    whole = await store.removals(LATER, NOW, 10)
    assert [(found.image_id, found.moderated) for found in whole] == [
        ("image-3", True),
        ("image-2", False),
        ("image-1", False),
    ]
    first = image(3)
    assert whole[0] == Removal("image-3", first.sha256, hour(3), NOW + timedelta(minutes=3), moderated=True)
    walked: list[Removal] = []
    place = None
    while page := await store.removals(LATER, NOW, 1, place):
        walked += page
        place = page[-1].place
    assert walked == list(whole)
    assert [found.image_id for found in await store.removals(LATER, LATER, 10)] == ["image-1"]
    assert [found.image_id for found in await store.removals(hour(2), NOW, 10)] == ["image-1"]
    # No hour of the journal names it yet, so no release has it.
    await store.add_images([replace(image(9), journal_hour=None)])
    await store.withdraw_images({"image-9": LATER})
    assert [found.image_id for found in await store.removals(LATER, LATER, 10)] == ["image-1"]


async def test_each_has_their_own_images_and_wishes(store: CurationStore) -> None:
    consented = replace(image(1), consent_version="2026-11", asked=True)
    await store.add_images([consented, image(2), image(4), image(7)])
    await store.withdraw_images({"image-4": LATER})
    assert [found.image_id for found in await store.shared_by(MINE, 10)] == ["image-7", "image-4", "image-1"]
    assert (await store.shared_by(MINE, 10))[-1] == consented
    behind = SharedPlace(image(7).shared_at, "image-7")
    assert [found.image_id for found in await store.shared_by(MINE, 1, behind)] == ["image-4"]
    assert [found.image_id for found in await store.shared_by(MINE, 10, among=["image-1", "image-2"])] == ["image-1"]
    assert (await store.count_shared_by(MINE), await store.count_shared_by(YOURS)) == (2, 1)

    early, late = Wish(MINE, image(4).shared_at), Wish(MINE, LATER)
    await store.wish(early)
    await store.wish(Wish(YOURS, LATER))
    assert list(await store.to_withdraw(early, 10)) == ["image-1"]
    assert sorted(await store.to_withdraw(late, 10)) == ["image-1", "image-7"]
    await store.wish(late)
    # A later one came meanwhile: it stays.
    await store.granted(early)
    assert {wish.requester for wish in await store.wishes(10)} == {MINE, YOURS}
    await store.granted(late)
    assert [wish.requester for wish in await store.wishes(10)] == [YOURS]
