"""Ratings, and who rates, in SQL."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from random import Random
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, insert, or_, select, tuple_, update

from horde.curation.core.images import Verdict
from horde.curation.core.rating import (
    Answer,
    Due,
    Opinion,
    Ratable,
    Rater,
    RaterState,
    Rating,
    RatingRules,
    Record,
    Shown,
)
from horde.curation.core.rating_choice import Kind
from horde.curation.core.releases import Published
from horde.curation.store.tables import microseconds, raters, ratings, shared_images, time_of
from horde.services.sql import SqlThread

LOOKED_AT: Final = 20
"""Candidates read at once. All of them may be shown: what may not is left out by the database."""
SHOWABLE: Final = (Verdict.NONE.value, Verdict.SAFE.value)
"""What moderators have not looked at, or found safe; not what waits for them."""


class SqlRatings:
    """The part of the store that is about ratings."""

    _sql: SqlThread

    async def rater(self, account_id: str, now: datetime) -> RaterState:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        today = ratings.c.rated_at_us >= microseconds(midnight)
        sums = select(
            func.count(),
            func.coalesce(func.sum(case((ratings.c.counted, 1), else_=0)), 0),
            func.coalesce(func.sum(case((today, ratings.c.earned_mkudos), else_=0)), 0),
        ).where(ratings.c.account_id == account_id)

        def work(connection: Connection) -> RaterState:
            row = connection.execute(select(raters).where(raters.c.account_id == account_id)).first()
            count, counted, earned = connection.execute(sums).one()
            kept = RaterState(account_id) if row is None else _state(row)
            return replace(kept, ratings=int(count), counted=int(counted), earned_today=int(earned))

        return await self._sql.read(work)

    async def candidates(
        self,
        kind: Kind,
        rater: Rater,
        skipped: Collection[str],
        chance: Random,
        rules: RatingRules,
        published: Published | None = None,
    ) -> Sequence[Ratable]:
        lot = str(UUID(int=chance.getrandbits(128)))
        levels = [0] if kind is Kind.FRESH else chance.sample(range(1, rules.target), rules.target - 1)
        of_kind: list[ColumnElement[bool]] = [shared_images.c.rated == level for level in levels]
        if kind is Kind.GOLD:
            of_kind = [shared_images.c.answer.is_not(None)]
        fit = _may_be_shown(rater, skipped)
        if published is not None:
            fit = and_(fit, ~_is_published(published))

        def work(connection: Connection) -> list[Ratable]:
            for belongs in of_kind:
                # Ids are as good as random: from a random one on, and around.
                for there in (shared_images.c.image_id >= lot, shared_images.c.image_id < lot):
                    asked = select(shared_images).where(belongs, there, fit).order_by(shared_images.c.image_id)
                    if found := connection.execute(asked.limit(LOOKED_AT)).all():
                        return [
                            Ratable(row.image_id, row.requester, row.rated, row.painter, row.answer) for row in found
                        ]
            return []

        return await self._sql.read(work)

    async def is_published(self, image_id: str, published: Published) -> bool:
        asked = select(shared_images.c.image_id).where(shared_images.c.image_id == image_id, _is_published(published))
        return await self._sql.read(lambda connection: connection.scalar(asked) is not None)

    async def show(self, account_id: str, shown: Shown, instead_of: str | None, skipped: Sequence[str]) -> bool:
        values = {
            "looking_at": shown.image_id,
            "shown_at_us": microseconds(shown.shown_at),
            "known": shown.known,
            "skipped": json.dumps(skipped),
            "skipped_on": shown.shown_at.date().isoformat(),
        }

        def work(connection: Connection) -> bool:
            _know(connection, account_id)
            looking = raters.c.looking_at.is_(None) if instead_of is None else raters.c.looking_at == instead_of
            mine = update(raters).where(raters.c.account_id == account_id, looking)
            return connection.execute(mine.values(**values)).rowcount == 1

        return await self._sql.run(work)

    async def rating(self, account_id: str, image_id: str) -> Rating | None:
        asked = select(ratings).where(ratings.c.account_id == account_id, ratings.c.image_id == image_id)
        row = await self._sql.read(lambda connection: connection.execute(asked).first())
        return None if row is None else _rating(row)

    async def answers(self, account_id: str, limit: int) -> Sequence[Answer]:
        mine = ratings.c.account_id == account_id
        newest = select(ratings).where(mine).order_by(ratings.c.rated_at_us.desc(), ratings.c.image_id).limit(limit)

        def work(connection: Connection) -> list[Answer]:
            own = connection.execute(newest).all()
            others = _opinions(connection, [row.image_id for row in own], account_id)
            return [Answer(row.first_score, tuple(others[row.image_id]), row.known) for row in own]

        return await self._sql.read(work)

    async def opinions(self, image_id: str, but: str) -> Sequence[Opinion]:
        return await self._sql.read(lambda connection: _opinions(connection, [image_id], but)[image_id])

    async def rate(self, rating: Rating, shown: Shown, *, due: bool) -> bool:
        def work(connection: Connection) -> bool:
            looking = (raters.c.account_id == rating.account_id) & (raters.c.looking_at == rating.image_id)
            done = connection.execute(update(raters).where(looking).values(looking_at=None, known=None))
            if done.rowcount != 1:
                return False
            kept = {**asdict(rating), "rated_at_us": microseconds(rating.rated_at)}
            del kept["rated_at"]
            connection.execute(insert(ratings).values(**kept, first_score=rating.score, known=shown.known, due=due))
            if rating.counted:
                image = update(shared_images).where(shared_images.c.image_id == rating.image_id)
                connection.execute(image.values(rated=shared_images.c.rated + 1))
            return True

        return await self._sql.run(work)

    async def replace_rating(self, rating: Rating) -> None:
        mine = (ratings.c.account_id == rating.account_id) & (ratings.c.image_id == rating.image_id)
        kept = update(ratings).where(mine).values(score=rating.score, artifacts=rating.artifacts)
        await self._sql.run(lambda connection: connection.execute(kept))

    async def keep_record(self, account_id: str, record: Record, word: float) -> None:
        def work(connection: Connection) -> None:
            _know(connection, account_id)
            mine = update(raters).where(raters.c.account_id == account_id)
            connection.execute(mine.values(**asdict(record), word=word))

        await self._sql.run(work)

    async def keep_answer(self, image_id: str, answer: float | None) -> None:
        kept = update(shared_images).where(shared_images.c.image_id == image_id).values(answer=answer)
        await self._sql.run(lambda connection: connection.execute(kept))

    async def ratings(self, account_id: str, limit: int, after: tuple[datetime, str] | None) -> Sequence[Rating]:
        behind: list[ColumnElement[bool]] = [ratings.c.account_id == account_id]
        if after is not None:
            at = microseconds(after[0])
            same = and_(ratings.c.rated_at_us == at, ratings.c.image_id > after[1])
            behind.append(or_(ratings.c.rated_at_us < at, same))
        asked = select(ratings).where(*behind).order_by(ratings.c.rated_at_us.desc(), ratings.c.image_id).limit(limit)
        rows = await self._sql.read(lambda connection: connection.execute(asked).all())
        return [_rating(row) for row in rows]

    async def due(self, limit: int) -> Sequence[Due]:
        asked = select(ratings).where(ratings.c.due).order_by(ratings.c.rated_at_us).limit(limit)
        rows = await self._sql.read(lambda connection: connection.execute(asked).all())
        return [Due(row.image_id, row.account_id, row.earned_mkudos) for row in rows]

    async def paid(self, due: Due, amount_mkudos: int) -> None:
        mine = (ratings.c.account_id == due.account_id) & (ratings.c.image_id == due.image_id)
        kept = update(ratings).where(mine).values(due=False, earned_mkudos=amount_mkudos)
        await self._sql.run(lambda connection: connection.execute(kept))

    async def export(self, until: datetime, after: tuple[str, str], limit: int) -> Sequence[tuple[Rating, float]]:
        joined = ratings.join(shared_images).join(raters, raters.c.account_id == ratings.c.account_id)
        pair = tuple_(ratings.c.image_id, ratings.c.account_id)
        asked = (
            select(ratings, raters.c.word)
            .select_from(joined)
            .where(
                ratings.c.rated_at_us < microseconds(until),
                shared_images.c.withdrawn_at_us.is_(None),
                pair > after,
            )
            .order_by(ratings.c.image_id, ratings.c.account_id)
            .limit(limit)
        )
        rows = await self._sql.read(lambda connection: connection.execute(asked).all())
        return [(_rating(row), row.word) for row in rows]


def _may_be_shown(rater: Rater, skipped: Collection[str]) -> ColumnElement[bool]:
    rated = exists().where(ratings.c.image_id == shared_images.c.image_id, ratings.c.account_id == rater.account_id)
    painter = shared_images.c.painter
    return and_(
        shared_images.c.withdrawn_at_us.is_(None),
        shared_images.c.withheld.is_(False),
        shared_images.c.verdict.in_(SHOWABLE),
        shared_images.c.requester != rater.as_requester,
        or_(painter == "", painter != rater.as_painter),
        shared_images.c.image_id.not_in(skipped),
        ~rated,
    )


def _is_published(published: Published) -> ColumnElement[bool]:
    at_us = microseconds(published.rated_before)
    rated = exists().where(ratings.c.image_id == shared_images.c.image_id, ratings.c.rated_at_us < at_us)
    # Of what no hour of the journal names yet it is not known in which release it is.
    hour_us = func.coalesce(shared_images.c.journal_hour_us, 0)
    return and_(hour_us < microseconds(published.journalled_before), rated)


def _opinions(connection: Connection, image_ids: Collection[str], but: str) -> Mapping[str, list[Opinion]]:
    asked = (
        select(ratings.c.image_id, ratings.c.score, raters.c.word)
        .join(raters, raters.c.account_id == ratings.c.account_id)
        .where(ratings.c.image_id.in_(image_ids), ratings.c.account_id != but)
    )
    found: defaultdict[str, list[Opinion]] = defaultdict(list)
    for image_id, score, word in connection.execute(asked):
        found[image_id].append(Opinion(score, word))
    return found


def _know(connection: Connection, account_id: str) -> None:
    """Make a row for somebody who has none."""
    if connection.scalar(select(raters.c.account_id).where(raters.c.account_id == account_id)) is None:
        new = {"word": 0.0, "skipped": "[]", "skipped_on": date.min.isoformat()}
        connection.execute(insert(raters).values(account_id=account_id, **asdict(Record()), **new))


def _state(row: Row[Any]) -> RaterState:
    shown = None if row.looking_at is None else Shown(row.looking_at, time_of(row.shown_at_us), row.known)
    return RaterState(
        account_id=row.account_id,
        record=Record(row.checked, row.agreement, row.certain, row.golds, row.missed, row.weight),
        looking_at=shown,
        skipped=tuple(json.loads(row.skipped)),
        skipped_on=date.fromisoformat(row.skipped_on),
    )


def _rating(row: Row[Any]) -> Rating:
    return Rating(
        row.image_id,
        row.account_id,
        row.score,
        row.artifacts,
        time_of(row.rated_at_us),
        row.earned_mkudos,
        row.counted,
    )
