"""Ratings: what is shown to whom, what they say, and what it earns. A rating is kept first and paid then, again and
again until the ledger has answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from typing import Final, Protocol

from horde.curation.core.errors import ImageNotShown, NothingToRate, RatedTooFast
from horde.curation.core.images import SharedImage, digest_painter
from horde.curation.core.rating import Answer, Due, Opinion, Rater, RaterState, Rating, RatingRules, Shown
from horde.curation.core.rating_agreement import judge, known_answer, word_weight
from horde.curation.core.rating_choice import order_of_kinds, pick
from horde.curation.core.rating_reward import replaces, reward, why_nothing, worth
from horde.curation.core.releases import Finished, Published, published
from horde.curation.core.visitors import Role, Visitor
from horde.curation.neighbours.ledger import Payer
from horde.curation.store.port import CurationStore
from horde.services.clock import Clock
from horde.services.errors import Aborted, ServiceError
from horde.services.failpoints import declare, failpoint
from horde.services.telemetry import get_logger

log = get_logger(__name__)

AFTER_RATED: Final = declare("curation.rating.after_rated")
PAY_SECONDS: Final = 10.0
DUE_AT_ONCE: Final = 100
RELEASES_SECONDS: Final = 10.0
"""So long after it was finished a release may not be heard of yet."""
TRIES: Final = 3
"""To show something, while the same account is shown something else elsewhere."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An image to rate, and what that earns."""

    image: SharedImage
    reward_mkudos: int


@dataclass(frozen=True, slots=True)
class RatingStanding:
    """How somebody's ratings are taken."""

    state: RaterState
    left_today_mkudos: int
    why: str
    """Why they earn nothing; empty: they earn."""


class FinishedReleases(Protocol):
    """Which data releases are finished."""

    async def finished(self) -> Sequence[Finished]: ...


class Ratings:
    """What RatingService does. `chance` decides between images that are as good.

    An image is not shown any more once a data release tells what others said of it: whoever looks that up would be paid
    for it like somebody who looks at the image.
    """

    def __init__(
        self,
        store: CurationStore,
        releases: FinishedReleases,
        payer: Payer,
        clock: Clock,
        chance: Random,
        rules: RatingRules,
    ) -> None:
        self._store = store
        self._releases = releases
        self._payer = payer
        self._clock = clock
        self._chance = chance
        self._rules = rules
        self._public: Published | None = None
        self._looked_at: float | None = None

    async def next(self, visitor: Visitor, skip: str = "") -> Offer:
        """The image that somebody is looking at, or another one. Raises NothingToRate."""
        for _ in range(TRIES):
            now = self._clock.now()
            state = await self._store.rater(visitor.account_id, now)
            looking = state.looking_at
            public = await self._published()
            image = None if looking is None else await self._showable(looking.image_id, public)
            skipped = state.skipped_today(now)
            if looking is not None and image is not None:
                if skip != looking.image_id or len(skipped) >= self._rules.skips_per_day:
                    return self._offer(image, state)
                skipped = (*skipped, skip)
            shown = await self._choose(visitor, state, skipped, now, public)
            was = None if looking is None else looking.image_id
            if await self._store.show(visitor.account_id, shown, was, skipped):
                found = await self._store.image(shown.image_id)
                if found is not None:
                    return self._offer(found, state)
        raise Aborted("This account is shown other images at the same time.")

    async def rate(self, visitor: Visitor, image_id: str, score: int, artifacts: int | None) -> Rating:
        """Take a rating."""
        now, account_id = self._clock.now(), visitor.account_id
        known = await self._store.rating(account_id, image_id)
        if known is not None:
            return await self._again(known, score, artifacts, now)
        state = await self._store.rater(account_id, now)
        shown = state.looking_at
        image = await self._showable(image_id, await self._published())
        if shown is None or shown.image_id != image_id or image is None:
            raise ImageNotShown(metadata={"image_id": image_id})
        if wait := shown.too_early(now, self._rules):
            raise RatedTooFast(retry_after=wait)
        offered = worth(state.record, state.earned_today, self._rules, with_artifacts=artifacts is not None)
        earned = reward(Answer(score, (), shown.known), offered, self._rules)
        anchor = is_anchor(visitor)
        counted = word_weight(state.record, self._rules, anchor=anchor) > 0
        rating = Rating(image_id, account_id, score, artifacts, now, earned, counted)
        if not await self._store.rate(rating, shown, due=earned > 0):
            # Rated by the same account meanwhile: what was taken then is the answer, or what contradicts this.
            known = await self._store.rating(account_id, image_id)
            if known is None:
                raise ImageNotShown(metadata={"image_id": image_id})
            return await self._again(known, score, artifacts, now)
        await failpoint(AFTER_RATED)
        await self._learn(rating, anchor=anchor)
        return replace(rating, earned_mkudos=await self._pay(Due(image_id, account_id, earned))) if earned else rating

    async def list(self, visitor: Visitor, limit: int, after: tuple[datetime, str] | None) -> Sequence[Rating]:
        """A page of somebody's own."""
        return await self._store.ratings(visitor.account_id, limit, after)

    async def standing(self, visitor: Visitor) -> RatingStanding:
        """How somebody's ratings are taken."""
        state = await self._store.rater(visitor.account_id, self._clock.now())
        left = max(0, self._rules.account_bound_per_day_mkudos - state.earned_today)
        return RatingStanding(state, left, why_nothing(state.record, state.earned_today, self._rules))

    async def run(self) -> None:
        """Pay what is due and was not paid, because the ledger was away, or the call broke off. Until cancelled."""
        while True:
            try:
                while due := await self._store.due(DUE_AT_ONCE):
                    for due_item in due:
                        await self._store.paid(due_item, await self._payer.pay(due_item))
            except ServiceError as error:
                # Who fails is said by the watch over it.
                log.debug("ratings are not paid yet", error=str(error))
            await self._clock.sleep(PAY_SECONDS)

    def _offer(self, image: SharedImage, state: RaterState) -> Offer:
        return Offer(image, worth(state.record, state.earned_today, self._rules, with_artifacts=True))

    async def _published(self) -> Published | None:
        """What anybody can look up. Looked at anew after a while; while the bucket is away, what was known stays so."""
        now = self._clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= RELEASES_SECONDS:
            try:
                self._public = published(await self._releases.finished())
                self._looked_at = now
            except ServiceError:
                if self._looked_at is None:
                    raise
        return self._public

    async def _showable(self, image_id: str, public: Published | None) -> SharedImage | None:
        """An image, if people may be shown it, also now: it may have come into a release since."""
        image = await self._store.image(image_id)
        if image is None or not image.ratable:
            return None
        return None if public is not None and await self._store.is_published(image_id, public) else image

    async def _choose(
        self, visitor: Visitor, state: RaterState, skipped: Sequence[str], now: datetime, public: Published | None
    ) -> Shown:
        rater = Rater(visitor.account_id, visitor.digest, digest_painter(visitor.account_id))
        for kind in order_of_kinds(state.record, self._chance, self._rules):
            found = await self._store.candidates(kind, rater, skipped, self._chance, self._rules, public)
            chosen = pick(kind, found, rater, set(skipped), self._chance, self._rules)
            if chosen is not None:
                return Shown(chosen.image_id, now, chosen.answer)
        raise NothingToRate

    async def _again(self, known: Rating, score: int, artifacts: int | None, now: datetime) -> Rating:
        if known.says_the_same(score, artifacts):
            return known
        if not replaces(known.rated_at, now, self._rules):
            raise ImageNotShown(metadata={"image_id": known.image_id})
        replaced = replace(known, score=score, artifacts=artifacts)
        await self._store.replace_rating(replaced)
        return replaced

    async def _learn(self, rating: Rating, *, anchor: bool) -> None:
        """What follows from a rating: of who gave it, and of the image. Of the next one it follows again, so what is
        lost here by a crash is lost for a moment."""
        answers = await self._store.answers(rating.account_id, 2 * self._rules.remembered)
        record = judge(answers, self._rules)
        word = word_weight(record, self._rules, anchor=anchor)
        await self._store.keep_record(rating.account_id, record, word)
        others = await self._store.opinions(rating.image_id, rating.account_id)
        answer = known_answer([*others, Opinion(rating.score, word)], self._rules)
        if answer is not None:
            await self._store.keep_answer(rating.image_id, answer)

    async def _pay(self, due: Due) -> int:
        """Now, or in the loop: what is due stays due while the ledger is away."""
        try:
            paid = await self._payer.pay(due)
        except ServiceError as error:
            log.debug("a rating will be paid later", error=str(error))
            return due.amount_mkudos
        await self._store.paid(due, paid)
        return paid


def is_anchor(visitor: Visitor) -> bool:
    """Whether somebody's word counts whatever his record."""
    return bool(visitor.roles & {Role.MODERATOR, Role.OPERATOR})
