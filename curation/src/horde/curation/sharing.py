"""What requesters have shared: listed to them, and taken back as a whole, also what no other service remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from horde.curation.core.errors import OtherCount
from horde.curation.core.images import SharedImage
from horde.curation.core.sharing import SETTLED, SharedPlace, Wish, carried_by, job_ids_of
from horde.curation.core.visitors import Visitor
from horde.curation.neighbours.release_bucket import ReleaseBucket
from horde.curation.neighbours.storage import Withdrawer
from horde.curation.store.port import CurationStore
from horde.services.clock import Clock
from horde.services.errors import FieldViolation, ServiceError
from horde.services.telemetry import get_logger

log = get_logger(__name__)

LOOK_SECONDS: Final = 2.0
WISHES_AT_ONCE: Final = 100
IMAGES_AT_ONCE: Final = 100


class Sharing:
    """What GenerationService says of all that was ever shared."""

    def __init__(self, store: CurationStore, releases: ReleaseBucket, router: Withdrawer, clock: Clock) -> None:
        self._store = store
        self._releases = releases
        self._router = router
        self._clock = clock

    async def list(
        self, visitor: Visitor, limit: int, after: SharedPlace | None, generation_id: str
    ) -> Sequence[tuple[SharedImage, list[str]]]:
        """A page of the visitor's own, newest first, each with the releases that carry it."""
        among = job_ids_of(generation_id) if generation_id else ()
        images = await self._store.shared_by(visitor.digest, limit, after, among)
        releases = await self._releases.finished() if images else []
        return [(image, carried_by(image, releases)) for image in images]

    async def withdraw_all(self, visitor: Visitor, expected: int) -> tuple[int, int]:
        """Take back all that the visitor has shared until now: how many, and how many of those releases carry."""
        count = await self._store.count_shared_by(visitor.digest)
        if expected and expected != count:
            raise OtherCount(violations=[FieldViolation("expected_images", f"is not {count}, which it would be")])
        released = await self._count_released(visitor)
        await self._store.wish(Wish(visitor.digest, self._clock.now()))
        return count, released

    async def run(self) -> None:
        """Take back what somebody wished to, and what becomes known of it later. Until cancelled."""
        while True:
            try:
                for wish in await self._store.wishes(WISHES_AT_ONCE):
                    await self._grant(wish)
            except ServiceError as error:
                log.debug("not all wishes could be granted", error=str(error))
            await self._clock.sleep(LOOK_SECONDS)

    async def _grant(self, wish: Wish) -> None:
        while image_ids := await self._store.to_withdraw(wish, IMAGES_AT_ONCE):
            gone = await self._router.withdraw(image_ids)
            await self._store.withdraw_images(dict.fromkeys(gone, self._clock.now()))
            if len(gone) < len(image_ids):
                # Another round will, and no other wish waits for it.
                return
        if self._clock.now() - wish.at >= SETTLED:
            await self._store.granted(wish)

    async def _count_released(self, visitor: Visitor) -> int:
        releases, count, place = await self._releases.finished(), 0, None
        while releases and (images := await self._store.shared_by(visitor.digest, IMAGES_AT_ONCE, place)):
            count += sum(image.withdrawn_at is None and bool(carried_by(image, releases)) for image in images)
            place = SharedPlace(images[-1].shared_at, images[-1].image_id)
        return count
