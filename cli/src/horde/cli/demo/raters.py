"""People who rate the demo's pictures, each by the same hidden taste and a mood of his own: noise that is known.

They go through RatingService like anybody: an account each, one image after the other, no faster than people look. One
of them does not look. Which images are shown is by chance; so those who look go on, and skip what somebody has rated,
until each image has a rating: what can be learnt from them does not depend on that chance.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from horde.cli.demo.running import NotAsPromised
from horde.clients.credentials import ApiKey
from horde.clients.errors import ObjectNotFound, ServiceError

if TYPE_CHECKING:
    from horde.api.rating.v1.rating_service_pb2 import RatableImage
    from horde.cli.local.mesh import LocalMesh
    from horde.clients.client import HordeClient

PEOPLE: Final = 22
LOOK_SECONDS: Final = 1.6
"""Who answers sooner is refused: nobody looks that fast."""
NOISE: Final = 0.8
"""Standard deviation of a rating around the picture's beauty, in points of 1 to 10."""
USUAL: Final = 6
"""What somebody says who does not look."""
TRIES: Final = 600
TRY_SECONDS: Final = 0.5


SKIPS: Final = 45
"""By each: the mesh takes fifty a day, and then shows the same again."""


class Unrated:
    """Images that nobody who looks has rated, or is looking at."""

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._left = set(image_ids)

    def __bool__(self) -> bool:
        return bool(self._left)

    def take(self, image_id: str) -> bool:
        """Whether it was among them; it is not any more."""
        was = image_id in self._left
        self._left.discard(image_id)
        return was


async def rate_as_people(mesh: LocalMesh, operator: HordeClient, ratings_each: int, image_ids: Iterable[str]) -> str:
    """Ratings by an operator, by people, and by one who does not look; what that came to, in words. Each gives at least
    so many, and each of the images gets one.

    The operator's are the first answers that are known: by them it is told who looks.
    """
    async with AsyncExitStack() as stack:
        nobody = await stack.enter_async_context(mesh.client())
        opened = [await nobody.accounts.create(f"rater {number}") for number in range(PEOPLE + 1)]
        people = [
            await stack.enter_async_context(mesh.client(credential=ApiKey(account.api_key))) for account in opened
        ]
        unrated = Unrated(image_ids)
        chances = [random.Random(number) for number in range(PEOPLE + 2)]
        counts = await asyncio.gather(
            _rate(operator, chances[-1], ratings_each, unrated),
            *(
                _rate(one, chance, ratings_each, unrated if one is not people[-1] else None)
                for one, chance in zip(people, chances, strict=False)
            ),
        )
        if unrated:
            raise NotAsPromised("not every image was shown to somebody")
        earned = [(await one.ratings.standing()).earned_today_mkudos for one in people]
    paid = sum(amount > 0 for amount in earned[:-1])
    return (
        f"{sum(counts)} ratings by {len(counts)} people, {sum(earned) / 1000:.0f} kudos for {paid} of them so far; "
        f"who did not look earned {earned[-1] / 1000:.0f}"
    )


async def _rate(horde: HordeClient, chance: random.Random, least: int, unrated: Unrated | None) -> int:
    """Rate so many images, then what is left; without `unrated` as somebody who does not look. How many it were."""
    shown = await _first(horde)
    count = skips = 0
    while count < least or (unrated and skips < SKIPS):
        first = unrated is not None and unrated.take(shown.image_id)
        if count >= least and not first:
            skips += 1
            shown = await horde.ratings.next(skip=shown.image_id)
            continue
        began = asyncio.get_running_loop().time()
        try:
            content = await horde.images.fetch_shown(shown.address, shown.ticket)
        except ObjectNotFound:
            # Taken back a moment ago.
            shown = await horde.ratings.next(skip=shown.image_id)
            continue
        score, artifacts = USUAL, None
        if unrated is not None:
            score = round(min(10.0, max(1.0, await asyncio.to_thread(_beauty, content) + chance.gauss(0, NOISE))))
            artifacts = chance.choice((None, 0, 1))
        await asyncio.sleep(max(0.0, began + LOOK_SECONDS - asyncio.get_running_loop().time()))
        answer = await horde.ratings.rate(shown.image_id, score, artifacts=artifacts)
        count += 1
        if not answer.HasField("next"):
            break
        shown = answer.next
    return count


async def _first(horde: HordeClient) -> RatableImage:
    """The first image that is shown, once the mesh's curation has heard of one."""
    for _ in range(TRIES):
        try:
            return await horde.ratings.next()
        except ServiceError:
            await asyncio.sleep(TRY_SECONDS)
    raise NotAsPromised("there is nothing to rate")


def _beauty(content: bytes) -> float:
    """What everybody here likes: warm colours. 1 to 10."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        warmth: Any = picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return 5.5 + 8 * float(warmth[0] - warmth[2]) / 255
