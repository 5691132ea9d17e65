"""Terms of leaders: an epoch row of the service, which the next leader raises before it reads anything.

`leadership.py` chooses who leads; who was replaced and has not heard of it writes nothing any more because of this row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Table, insert, select, update

from horde.services.errors import Unavailable
from horde.services.sql import SqlThread

R = TypeVar("R")


class Replaced(Unavailable):
    """Another process leads now: nothing more is written here."""


class LeadersSql:
    """A database as one leader writes to it. Its methods are those of SqlThread."""

    def __init__(self, sql: SqlThread, leader: Table) -> None:
        """`leader`: a table of one row, with `only`, which is 1, and `epoch`."""
        self._sql = sql
        self._leader = leader
        self._epoch = 0

    async def lead(self) -> None:
        """Begin a term: from now on every older leader's writes are refused."""
        self._epoch = await self._sql.run(self._begin)

    def _begin(self, connection: Connection) -> int:
        if not connection.execute(update(self._leader).values(epoch=self._leader.c.epoch + 1)).rowcount:
            connection.execute(insert(self._leader).values(only=1, epoch=1))
        return int(connection.execute(select(self._leader.c.epoch)).scalar_one())

    async def run(self, work: Callable[[Connection], R]) -> R:
        """Run one writing transaction. Raises Replaced, and keeps nothing of it, where another leads now."""
        # The lock is shared: a new leader's claim waits for this transaction, and this one sees any claim before it.
        epoch = select(self._leader.c.epoch).with_for_update(read=True)

        def of_term(connection: Connection) -> R:
            if connection.execute(epoch).scalar() != self._epoch:
                raise Replaced
            return work(connection)

        return await self._sql.run(of_term)

    async def read(self, work: Callable[[Connection], R]) -> R:
        """Read beside the writer."""
        return await self._sql.read(work)
