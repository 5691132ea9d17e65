"""What waits to be told, in SQL: added, and given up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, select, update

from horde.webhooks.core.deliveries import Delivery, State
from horde.webhooks.store.tables import deliveries, delivery_row, webhooks

MAX_IN = 500
"""Ids in one statement."""


def portions(ids: Collection[str]) -> Iterator[list[str]]:
    """The ids, as many at a time as one statement takes."""
    left = iter(dict.fromkeys(ids))
    while portion := list(islice(left, MAX_IN)):
        yield portion


def add_deliveries(connection: Connection, fresh: Sequence[Delivery]) -> None:
    """Keep those that are new, and whose webhook is there; what is to be tried, only for one that is enabled."""
    there: dict[str, bool] = {}
    for portion in portions({delivery.webhook_id for delivery in fresh}):
        named = select(webhooks.c.webhook_id, webhooks.c.enabled).where(webhooks.c.webhook_id.in_(portion))
        there |= {row.webhook_id: bool(row.enabled) for row in connection.execute(named)}
    rows: dict[str, dict[str, Any]] = {}
    for delivery in fresh:
        enabled = there.get(delivery.webhook_id)
        if enabled or (enabled is False and delivery.next_try_at is None):
            rows[delivery.delivery_id] = delivery_row(delivery)
    for portion in portions(rows):
        known = select(deliveries.c.delivery_id).where(deliveries.c.delivery_id.in_(portion))
        for delivery_id in connection.execute(known).scalars():
            del rows[delivery_id]
    if rows:
        connection.execute(insert(deliveries), list(rows.values()))


def give_up(connection: Connection, webhook_id: str) -> None:
    """Try no more what waits for a webhook."""
    waiting = (deliveries.c.webhook_id == webhook_id) & deliveries.c.next_try_us.is_not(None)
    connection.execute(update(deliveries).where(waiting).values(state=int(State.GIVEN_UP), next_try_us=None))
