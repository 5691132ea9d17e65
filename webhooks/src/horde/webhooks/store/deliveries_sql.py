"""Deliveries in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, desc, func, insert, or_, select, update

from horde.services.terms import LeadersSql
from horde.webhooks.core.deliveries import Delivery, Outcome
from horde.webhooks.core.webhooks import Event, Webhook
from horde.webhooks.store.port import Heard, Notices
from horde.webhooks.store.tables import (
    LEDGER,
    changing,
    deleted,
    deliveries,
    delivery_from,
    microseconds,
    places,
    time_of,
    watched,
    webhook_from,
    webhooks,
)
from horde.webhooks.store.waiting_sql import add_deliveries, portions
from horde.webhooks.store.webhooks_sql import write_webhook


class SqlDeliveries:
    """The part of the store that is about what is told."""

    _sql: LeadersSql

    async def hear(self, heard: Heard) -> None:
        def work(connection: Connection) -> None:
            add_deliveries(connection, heard.deliveries)
            _watch(connection, heard.watched)
            for portion in portions(heard.over):
                connection.execute(delete(watched).where(watched.c.generation_id.in_(portion)))
            if heard.sequence is not None:
                further = (places.c.feed == LEDGER) & (places.c.sequence < heard.sequence)
                connection.execute(update(places).where(further).values(sequence=heard.sequence))

        await self._sql.run(work)

    async def watched(self, limit: int, of_each: int, account_ids: Collection[str] | None = None) -> Mapping[str, str]:
        place = func.row_number().over(partition_by=watched.c.account_id, order_by=watched.c.generation_id)
        numbered = select(watched, place.label("place"))

        def first(theirs: Select[Any]) -> Select[Any]:
            found = theirs.subquery()
            return select(found).where(found.c.place <= of_each).order_by(found.c.place).limit(limit)

        def work(connection: Connection) -> Mapping[str, str]:
            if account_ids is None:
                rows = list(connection.execute(first(numbered)))
            else:
                theirs = [numbered.where(watched.c.account_id.in_(portion)) for portion in portions(account_ids)]
                rows = [row for some in theirs for row in connection.execute(first(some))]
                rows.sort(key=lambda row: row.place)
            return {row.generation_id: row.account_id for row in rows[:limit]}

        return await self._sql.read(work)

    async def overfull(self, account_ids: Collection[str], most: int) -> Sequence[Webhook]:
        waiting = deliveries.c.next_try_us.is_not(None)

        def work(connection: Connection) -> Sequence[Webhook]:
            found: list[Webhook] = []
            for account_id in account_ids:
                by_webhook = (
                    select(deliveries.c.webhook_id, func.count().label("waiting"))
                    .where(deliveries.c.account_id == account_id, waiting)
                    .group_by(deliveries.c.webhook_id)
                )
                counts = {row.webhook_id: row.waiting for row in connection.execute(by_webhook)}
                if sum(counts.values()) > most:
                    fullest = max(sorted(counts), key=counts.__getitem__)
                    row = connection.execute(select(webhooks).where(webhooks.c.webhook_id == fullest)).first()
                    found += [] if row is None else [webhook_from(row)]
            return found

        return await self._sql.read(work)

    async def due_accounts(self) -> Mapping[str, datetime]:
        first = (
            select(deliveries.c.account_id, func.min(deliveries.c.next_try_us).label("at_us"))
            .where(deliveries.c.next_try_us.is_not(None))
            .group_by(deliveries.c.account_id)
        )
        return await self._sql.read(
            lambda connection: {row.account_id: time_of(row.at_us) for row in connection.execute(first)}
        )

    async def due(self, account_id: str, limit: int) -> Sequence[tuple[Delivery, Webhook]]:
        first = (
            select(deliveries)
            .where(deliveries.c.account_id == account_id, deliveries.c.next_try_us.is_not(None))
            .order_by(deliveries.c.next_try_us)
            .limit(limit)
        )

        def work(connection: Connection) -> Sequence[tuple[Delivery, Webhook]]:
            waiting = [delivery_from(row) for row in connection.execute(first)]
            named = webhooks.c.webhook_id.in_({delivery.webhook_id for delivery in waiting})
            of = {row.webhook_id: webhook_from(row) for row in connection.execute(select(webhooks).where(named))}
            return [(delivery, of[delivery.webhook_id]) for delivery in waiting if delivery.webhook_id in of]

        return await self._sql.read(work)

    async def keep_try(
        self, delivery: Delivery, decide: Callable[[Delivery, Webhook], Outcome], notices: Notices
    ) -> Delivery | None:
        its = deliveries.c.delivery_id == delivery.delivery_id
        of = webhooks.c.webhook_id == delivery.webhook_id

        def work(connection: Connection) -> Delivery | None:
            hook = connection.execute(select(webhooks).where(of).with_for_update()).first()
            row = connection.execute(select(deliveries).where(its).with_for_update()).first()
            if row is None or hook is None:
                return None
            webhook = webhook_from(hook)
            outcome = decide(delivery_from(row), webhook)
            write_webhook(connection, webhook, outcome.webhook, notices)
            connection.execute(update(deliveries).where(its).values(changing(outcome.delivery)))
            return outcome.delivery

        return await self._sql.run(work)

    async def add_test(self, delivery: Delivery, most: int) -> None:
        tests = (deliveries.c.webhook_id == delivery.webhook_id) & (deliveries.c.event == Event.TEST.value)
        newest_first = select(deliveries.c.delivery_id).where(tests).order_by(desc(deliveries.c.created_at_us))

        def work(connection: Connection) -> None:
            _delete(connection, list(connection.execute(newest_first).scalars())[most - 1 :])
            add_deliveries(connection, [delivery])

        await self._sql.run(work)

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery | None:
        its = (deliveries.c.webhook_id == webhook_id) & (deliveries.c.delivery_id == delivery_id)

        def work(connection: Connection) -> Delivery | None:
            row = connection.execute(select(deliveries).where(its)).first()
            return None if row is None else delivery_from(row)

        return await self._sql.read(work)

    async def deliveries(self, webhook_id: str, limit: int, before: tuple[int, str] | None) -> Sequence[Delivery]:
        at, name = deliveries.c.created_at_us, deliveries.c.delivery_id
        its = select(deliveries).where(deliveries.c.webhook_id == webhook_id)
        if before is not None:
            its = its.where(or_(at < before[0], and_(at == before[0], name < before[1])))
        newest = its.order_by(desc(at), desc(name)).limit(limit)
        return await self._sql.read(lambda connection: [delivery_from(row) for row in connection.execute(newest)])

    async def sweep(self, before: datetime, limit: int) -> int:
        old = select(deliveries.c.delivery_id).where(deliveries.c.created_at_us < microseconds(before)).limit(limit)

        def work(connection: Connection) -> int:
            gone = _delete(connection, list(connection.execute(old).scalars()))
            for webhook_id in connection.execute(select(deleted.c.webhook_id).limit(limit)).scalars().all():
                its = select(deliveries.c.delivery_id).where(deliveries.c.webhook_id == webhook_id)
                found = list(connection.execute(its.limit(limit - gone)).scalars()) if gone < limit else []
                gone += _delete(connection, found)
                if gone >= limit:
                    break
                connection.execute(delete(deleted).where(deleted.c.webhook_id == webhook_id))
            return gone

        return await self._sql.run(work)

    async def forget(self, account_id: str, limit: int) -> int:
        its = deliveries.c.account_id == account_id

        def work(connection: Connection) -> int:
            connection.execute(delete(webhooks).where(webhooks.c.account_id == account_id))
            connection.execute(delete(watched).where(watched.c.account_id == account_id))
            found = list(connection.execute(select(deliveries.c.delivery_id).where(its).limit(limit + 1)).scalars())
            return len(found) - _delete(connection, found[:limit])

        return await self._sql.run(work)


def _delete(connection: Connection, delivery_ids: list[str]) -> int:
    for portion in portions(delivery_ids):
        connection.execute(delete(deliveries).where(deliveries.c.delivery_id.in_(portion)))
    return len(delivery_ids)


def _watch(connection: Connection, wanted: Mapping[str, str]) -> None:
    missing = dict(wanted)
    for portion in portions(missing):
        known = select(watched.c.generation_id).where(watched.c.generation_id.in_(portion))
        for generation_id in connection.execute(known).scalars():
            missing.pop(generation_id)
    if missing:
        rows = [{"generation_id": generation, "account_id": account} for generation, account in missing.items()]
        connection.execute(insert(watched), rows)
