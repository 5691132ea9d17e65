"""Webhooks in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, exists, insert, select, true, update

from horde.services.terms import LeadersSql
from horde.webhooks.core.webhooks import Webhook
from horde.webhooks.store.port import Notices
from horde.webhooks.store.tables import LEDGER, deleted, places, webhook_from, webhook_row, webhooks
from horde.webhooks.store.waiting_sql import add_deliveries, give_up, portions


class SqlWebhooks:
    """The part of the store that is about webhooks."""

    _sql: LeadersSql

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

    async def change_webhook(
        self,
        account_id: str,
        webhook_id: str,
        change: Callable[[Webhook], Webhook],
        *,
        notices: Notices | None = None,
        sequence: int | None = None,
    ) -> Webhook | None:
        mine = (webhooks.c.account_id == account_id) & (webhooks.c.webhook_id == webhook_id)

        def work(connection: Connection) -> Webhook | None:
            row = connection.execute(select(webhooks).where(mine).with_for_update()).first()
            if row is None:
                return None
            before = webhook_from(row)
            after = change(before)
            write_webhook(connection, before, after, notices)
            if after.enabled and sequence is not None:
                _begin_feed(connection, sequence)
            return after

        return await self._sql.run(work)

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


def write_webhook(connection: Connection, before: Webhook, after: Webhook, notices: Notices | None) -> None:
    """Keep what has changed of a webhook; for one that is disabled by it nothing waits any more."""
    was, now = webhook_row(before), webhook_row(after)
    changed = {name: value for name, value in now.items() if value != was[name]}
    if changed:
        its = webhooks.c.webhook_id == before.webhook_id
        connection.execute(update(webhooks).where(its).values(changed))
    if before.enabled and not after.enabled:
        give_up(connection, before.webhook_id)
        if notices is not None:
            add_deliveries(connection, notices(after, _of(connection, after.account_id)))


def _of(connection: Connection, account_id: str) -> list[Webhook]:
    theirs = select(webhooks).where(webhooks.c.account_id == account_id)
    oldest_first = theirs.order_by(webhooks.c.created_at_us, webhooks.c.webhook_id)
    return [webhook_from(row) for row in connection.execute(oldest_first)]


def _begin_feed(connection: Connection, sequence: int) -> None:
    if connection.execute(select(places.c.sequence).where(places.c.feed == LEDGER)).first() is None:
        connection.execute(insert(places).values(feed=LEDGER, sequence=sequence))
