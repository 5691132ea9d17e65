"""What each requester has shared, and wishes to take it back, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, desc, func, insert, select, tuple_, update

from horde.curation.core.images import SharedImage
from horde.curation.core.sharing import SharedPlace, Wish
from horde.curation.store.images_sql import image_of, images_query
from horde.curation.store.tables import microseconds, shared_images, time_of, wishes
from horde.services.sql import SqlThread


class SqlSharing:
    """The part of the store that is about requesters."""

    _sql: SqlThread

    async def shared_by(
        self, requester: str, limit: int, after: SharedPlace | None = None, among: Collection[str] = ()
    ) -> Sequence[SharedImage]:
        table = shared_images.c
        mine = images_query().where(table.requester == requester)
        if among:
            mine = mine.where(table.image_id.in_(among))
        if after is not None:
            place = tuple_(table.shared_at_us, table.image_id)
            mine = mine.where(place < tuple_(microseconds(after.shared_at), after.image_id))
        ordered = mine.order_by(desc(table.shared_at_us), desc(table.image_id)).limit(limit)
        return await self._sql.read(lambda connection: [image_of(row) for row in connection.execute(ordered)])

    async def count_shared_by(self, requester: str) -> int:
        table = shared_images.c
        mine = select(func.count()).where(table.requester == requester, table.withdrawn_at_us.is_(None))
        return await self._sql.read(lambda connection: int(connection.scalar(mine) or 0))

    async def wish(self, wish: Wish) -> None:
        def work(connection: Connection) -> None:
            later = update(wishes).where(wishes.c.requester == wish.requester).values(at_us=microseconds(wish.at))
            if not connection.execute(later).rowcount:
                connection.execute(insert(wishes).values(requester=wish.requester, at_us=microseconds(wish.at)))

        await self._sql.run(work)

    async def wishes(self, limit: int) -> Sequence[Wish]:
        oldest = select(wishes).order_by(wishes.c.at_us).limit(limit)
        return await self._sql.read(
            lambda connection: [Wish(row.requester, time_of(row.at_us)) for row in connection.execute(oldest)]
        )

    async def granted(self, wish: Wish) -> None:
        mine = (wishes.c.requester == wish.requester) & (wishes.c.at_us == microseconds(wish.at))
        await self._sql.run(lambda connection: connection.execute(delete(wishes).where(mine)))

    async def to_withdraw(self, wish: Wish, limit: int) -> Sequence[str]:
        table = shared_images.c
        left = select(table.image_id).where(
            table.requester == wish.requester,
            table.withdrawn_at_us.is_(None),
            table.shared_at_us <= microseconds(wish.at),
        )
        return await self._sql.read(lambda connection: list(connection.scalars(left.limit(limit))))
