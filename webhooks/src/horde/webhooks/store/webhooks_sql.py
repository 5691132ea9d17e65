"""Webhooks in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, delete, exists, insert, select, true, update

from horde.services.sql import SqlThread
from horde.webhooks.core.deliveries import State
from horde.webhooks.core.webhooks import Webhook
from horde.webhooks.store.tables import (
    LEDGER,
    deleted,
    deliveries,
    places,
    webhook_from,
    webhook_row,
    webhooks,
)

FOUND = ("last_success_us", "failing_since_us")
"""What is found by trying. All else is its owner's, who may change it meanwhile."""
MAX_IN = 500
"""Ids in one statement."""


def portions(ids: Collection[str]) -> Iterator[list[str]]:
    """The ids, as many at a time as one statement takes."""
    left = iter(dict.fromkeys(ids))
    while portion := list(islice(left, MAX_IN)):
        yield portion


class SqlWebhooks:
    """The part of the store that is about webhooks."""

    _sql: SqlThread

    async def add_webhook(self, webhook: Webhook, most: int, sequence: int) -> Webhook | None:
        def work(connection: Connection) -> Webhook | None:
            known = _of(connection, webhook.account_id)
            for other in known:
                if other.request_id == webhook.request_id:
                    return other
            if len(known) >= most:
                return None
            connection.execute(insert(webhooks).values(webhook_row(webhook)))
            _begin_feed(connection, sequence)
            return webhook

        return await self._sql.run(work)

    async def webhooks(self, account_id: str) -> Sequence[Webhook]:
        return await self._sql.read(lambda connection: _of(connection, account_id))

    async def webhook(self, account_id: str, webhook_id: str) -> Webhook | None:
        mine = (webhooks.c.account_id == account_id) & (webhooks.c.webhook_id == webhook_id)

        def work(connection: Connection) -> Webhook | None:
            row = connection.execute(select(webhooks).where(mine)).first()
            return None if row is None else webhook_from(row)

        return await self._sql.read(work)

    async def change_webhook(self, webhook: Webhook, sequence: int | None = None) -> None:
        def work(connection: Connection) -> None:
            values = {name: value for name, value in webhook_row(webhook).items() if name not in FOUND}
            if webhook.failing_since is None:
                values["failing_since_us"] = None
            connection.execute(update(webhooks).where(webhooks.c.webhook_id == webhook.webhook_id).values(values))
            if not webhook.enabled:
                give_up(connection, webhook.webhook_id)
            if sequence is not None:
                _begin_feed(connection, sequence)

        await self._sql.run(work)

    async def delete_webhook(self, account_id: str, webhook_id: str) -> None:
        mine = (webhooks.c.account_id == account_id) & (webhooks.c.webhook_id == webhook_id)

        def work(connection: Connection) -> None:
            if connection.execute(delete(webhooks).where(mine)).rowcount:
                connection.execute(insert(deleted).values(webhook_id=webhook_id))
                give_up(connection, webhook_id)

        await self._sql.run(work)

    async def renew_secrets(self, renewed: Callable[[bytes], bytes]) -> None:
        def work(connection: Connection) -> None:
            kept = select(webhooks.c.webhook_id, webhooks.c.secret, webhooks.c.old_secret)
            for row in connection.execute(kept).all():
                secrets = {"secret": renewed(bytes(row.secret)), "old_secret": renewed(bytes(row.old_secret))}
                if secrets != {"secret": bytes(row.secret), "old_secret": bytes(row.old_secret)}:
                    its = webhooks.c.webhook_id == row.webhook_id
                    connection.execute(update(webhooks).where(its).values(secrets))

        await self._sql.run(work)

    async def enabled_of(self, account_ids: Collection[str]) -> Mapping[str, Sequence[Webhook]]:
        def work(connection: Connection) -> Mapping[str, Sequence[Webhook]]:
            found: defaultdict[str, list[Webhook]] = defaultdict(list)
            for portion in portions(account_ids):
                theirs = select(webhooks).where(webhooks.c.account_id.in_(portion), webhooks.c.enabled == true())
                for row in connection.execute(theirs):
                    found[row.account_id].append(webhook_from(row))
            return found

        return await self._sql.read(work)

    async def feed_place(self) -> int | None:
        here = select(places.c.sequence).where(places.c.feed == LEDGER)
        return await self._sql.read(lambda connection: connection.execute(here).scalar())

    async def stop_feed(self) -> bool:
        wanted = exists().where(webhooks.c.enabled == true())

        def work(connection: Connection) -> bool:
            if connection.execute(select(wanted)).scalar():
                return False
            connection.execute(delete(places).where(places.c.feed == LEDGER))
            return True

        return await self._sql.run(work)


def write_found(connection: Connection, webhook: Webhook) -> None:
    """Keep what was found of a webhook by trying, if it is still there."""
    row = webhook_row(webhook)
    names = FOUND if webhook.enabled else (*FOUND, "enabled", "disabled_because")
    its = webhooks.c.webhook_id == webhook.webhook_id
    connection.execute(update(webhooks).where(its).values({name: row[name] for name in names}))
    if not webhook.enabled:
        give_up(connection, webhook.webhook_id)


def enabled_among(connection: Connection, webhook_ids: Collection[str]) -> dict[str, bool]:
    """Of those that are there: whether each is enabled."""
    found: dict[str, bool] = {}
    for portion in portions(webhook_ids):
        named = select(webhooks.c.webhook_id, webhooks.c.enabled).where(webhooks.c.webhook_id.in_(portion))
        found |= {row.webhook_id: bool(row.enabled) for row in connection.execute(named)}
    return found


def give_up(connection: Connection, webhook_id: str) -> None:
    """Try no more what waits for a webhook."""
    waiting = (deliveries.c.webhook_id == webhook_id) & deliveries.c.next_try_us.is_not(None)
    connection.execute(update(deliveries).where(waiting).values(state=int(State.GIVEN_UP), next_try_us=None))


def _of(connection: Connection, account_id: str) -> list[Webhook]:
    theirs = select(webhooks).where(webhooks.c.account_id == account_id)
    oldest_first = theirs.order_by(webhooks.c.created_at_us, webhooks.c.webhook_id)
    return [webhook_from(row) for row in connection.execute(oldest_first)]


def _begin_feed(connection: Connection, sequence: int) -> None:
    if connection.execute(select(places.c.sequence).where(places.c.feed == LEDGER)).first() is None:
        connection.execute(insert(places).values(feed=LEDGER, sequence=sequence))
