"""Accounts that have ended, in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select, update

from horde.curation.store.tables import raters, ratings, reports, shared_images
from horde.services.sql import SqlThread


class SqlAccounts:
    """The part of the store that is about what goes with an account."""

    _sql: SqlThread

    async def forget_rater(self, account_id: str, limit: int) -> int:
        mine = ratings.c.account_id == account_id

        def work(connection: Connection) -> int:
            some = select(ratings.c.image_id, ratings.c.counted).where(mine).order_by(ratings.c.image_id).limit(limit)
            rows = connection.execute(some).all()
            counted = [row.image_id for row in rows if row.counted]
            its = shared_images.c.image_id.in_(counted)
            # They are shown to others again, until as many have rated them as should.
            connection.execute(update(shared_images).where(its).values(rated=shared_images.c.rated - 1))
            connection.execute(delete(ratings).where(mine, ratings.c.image_id.in_([row.image_id for row in rows])))
            left = int(connection.scalar(select(func.count()).select_from(ratings).where(mine)) or 0)
            if not left:
                connection.execute(delete(raters).where(raters.c.account_id == account_id))
            return left

        return await self._sql.run(work)

    async def forget_reporter(self, reporter: str, limit: int) -> int:
        mine = reports.c.reporter == reporter

        def work(connection: Connection) -> int:
            some = select(reports.c.image_id, reports.c.report_id).where(mine).order_by(reports.c.image_id).limit(limit)
            for row in connection.execute(some).all():
                # A report's id is of no other: nobody's reports can be told to be the same person's any more.
                one = (reports.c.image_id == row.image_id) & mine
                connection.execute(update(reports).where(one).values(reporter=row.report_id, detail=""))
                withheld = (shared_images.c.image_id == row.image_id) & (shared_images.c.withheld_by == reporter)
                connection.execute(update(shared_images).where(withheld).values(withheld_by=row.report_id))
            return int(connection.scalar(select(func.count()).select_from(reports).where(mine)) or 0)

        return await self._sql.run(work)
