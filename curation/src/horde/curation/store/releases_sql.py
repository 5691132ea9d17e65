"""Data releases that were asked for here, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, desc, func, insert, select, union_all, update
from sqlalchemy import literal_column as word

from horde.curation.core.releases import Asked, State, Terms
from horde.curation.core.removals import Removal, RemovalPlace
from horde.curation.store.tables import data_releases, decisions, microseconds, shared_images, time_of
from horde.services.sql import SqlThread


class SqlReleases:
    """The part of the store that is about data releases."""

    _sql: SqlThread

    async def ask(self, asked: Asked) -> Asked:
        def work(connection: Connection) -> Asked:
            known = connection.execute(select(data_releases).where(data_releases.c.name == asked.name)).first()
            if known is not None and (known.state != State.FAILED or Terms.from_json(known.terms) != asked.terms):
                return _asked(known)
            other = connection.execute(select(data_releases).where(data_releases.c.state == State.BUILDING.value))
            if (running := other.first()) is not None:
                return _asked(running)
            if known is not None:
                again = update(data_releases).where(data_releases.c.name == asked.name)
                connection.execute(again.values(state=State.BUILDING.value, failure=""))
                return _asked(known, State.BUILDING)
            connection.execute(insert(data_releases).values(_row(asked)))
            return asked

        return await self._sql.run(work)

    async def asked(self, name: str) -> Asked | None:
        mine = select(data_releases).where(data_releases.c.name == name)
        return await self._sql.read(lambda connection: _first(connection, mine))

    async def all_asked(self) -> Sequence[Asked]:
        newest = select(data_releases).order_by(desc(data_releases.c.created_at_us))
        return await self._sql.read(lambda connection: [_asked(row) for row in connection.execute(newest)])

    async def building(self) -> Asked | None:
        running = select(data_releases).where(data_releases.c.state == State.BUILDING.value)
        return await self._sql.read(lambda connection: _first(connection, running))

    async def end(self, name: str, state: State, failure: str = "") -> None:
        mine = (data_releases.c.name == name) & (data_releases.c.state == State.BUILDING.value)
        ended = update(data_releases).where(mine).values(state=state.value, failure=failure)
        await self._sql.run(lambda connection: connection.execute(ended))

    async def removals(
        self, journalled_before: datetime, since: datetime, limit: int, after: RemovalPlace | None = None
    ) -> Sequence[Removal]:
        table = shared_images.c
        columns = (table.image_id, table.sha256, table.journal_hour_us)
        withdrawn = select(*columns, table.withdrawn_at_us.label("at_us"), word("0").label("moderated")).where(
            table.withdrawn_at_us.is_not(None), table.journal_hour_us < microseconds(journalled_before)
        )
        decided_at = select(func.max(decisions.c.at_us)).where(decisions.c.image_id == table.image_id).scalar_subquery()
        unsafe = select(*columns, decided_at.label("at_us"), word("1").label("moderated")).where(
            table.verdict == "unsafe",
            table.decided.is_(True),
            table.withdrawn_at_us.is_(None),
            table.journal_hour_us < microseconds(journalled_before),
        )
        both = union_all(withdrawn, unsafe).subquery()
        asked = select(both).where(both.c.at_us >= microseconds(since))
        if after is not None:
            at_us = microseconds(after.removed_at)
            behind = (both.c.at_us > at_us) | ((both.c.at_us == at_us) & (both.c.image_id > after.image_id))
            asked = asked.where(behind)
        ordered = asked.order_by(both.c.at_us, both.c.image_id).limit(limit)
        return await self._sql.read(lambda connection: [_removal(row) for row in connection.execute(ordered)])


def _removal(row: Row[Any]) -> Removal:
    return Removal(row.image_id, row.sha256, time_of(row.journal_hour_us), time_of(row.at_us), bool(row.moderated))


def _first(connection: Connection, query: Any) -> Asked | None:
    row = connection.execute(query).first()
    return None if row is None else _asked(row)


def _asked(row: Row[Any], state: State | None = None) -> Asked:
    return Asked(
        row.name,
        Terms.from_json(row.terms),
        time_of(row.created_at_us),
        row.created_by,
        state or State(row.state),
        "" if state else row.failure,
    )


def _row(asked: Asked) -> dict[str, Any]:
    return {
        "name": asked.name,
        "terms": asked.terms.to_json(),
        "state": asked.state.value,
        "created_at_us": microseconds(asked.created_at),
        "created_by": asked.created_by,
        "failure": asked.failure,
        "finished": "",
    }
