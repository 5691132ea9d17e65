"""The tables, as the code uses them. The schema itself is made in `migrations/`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, Row, String, Table, Text

from horde.webhooks.core.deliveries import Delivery, State, Try
from horde.webhooks.core.webhooks import Event, Webhook

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LEDGER: Final = "ledger"

metadata = MetaData()
webhooks = Table(
    "webhook",
    metadata,
    Column("webhook_id", String(36), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("asked", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("request_id_prefix", String(36), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary, nullable=False),
    Column("old_until_us", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_because", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("last_success_us", BigInteger),
    Column("failing_since_us", BigInteger),
    Column("after_sequence", BigInteger, nullable=False),
)
deliveries = Table(
    "delivery",
    metadata,
    Column("delivery_id", String(36), primary_key=True),
    Column("webhook_id", String(36), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("event", String(32), nullable=False),
    Column("subject_id", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("tries", Text, nullable=False),
    Column("next_try_us", BigInteger),
)
watched = Table(
    "watched",
    metadata,
    Column("generation_id", String(36), primary_key=True),
    Column("account_id", String(64), nullable=False),
)
leader = Table(
    "leader", metadata, Column("only", Integer, primary_key=True), Column("epoch", BigInteger, nullable=False)
)
deleted = Table("deleted", metadata, Column("webhook_id", String(36), primary_key=True))
places = Table(
    "place",
    metadata,
    Column("feed", String(32), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)


def microseconds(at: datetime) -> int:
    """A time as it is kept."""
    return (at - EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """A time as it was kept."""
    return EPOCH + timedelta(microseconds=us)


def _us(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)


def _time(us: int | None) -> datetime | None:
    return None if us is None else time_of(us)


def webhook_row(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": webhook.webhook_id,
        "account_id": webhook.account_id,
        "request_id": webhook.request_id,
        "asked": webhook.asked,
        "url": webhook.url,
        "label": webhook.label,
        "events": " ".join(sorted(event.value for event in webhook.events)),
        "request_id_prefix": webhook.request_id_prefix,
        "secret": webhook.secret,
        "old_secret": webhook.old_secret,
        "old_until_us": _us(webhook.old_until) or 0,
        "enabled": webhook.enabled,
        "disabled_because": webhook.disabled_because,
        "created_at_us": microseconds(webhook.created_at),
        "last_success_us": _us(webhook.last_success_at),
        "failing_since_us": _us(webhook.failing_since),
        "after_sequence": webhook.after_sequence,
    }


def webhook_from(row: Row[Any]) -> Webhook:
    return Webhook(
        webhook_id=row.webhook_id,
        account_id=row.account_id,
        request_id=row.request_id,
        asked=row.asked,
        url=row.url,
        label=row.label,
        events=frozenset(map(Event, row.events.split())),
        request_id_prefix=row.request_id_prefix,
        secret=bytes(row.secret),
        created_at=time_of(row.created_at_us),
        old_secret=bytes(row.old_secret),
        old_until=_time(row.old_until_us or None),
        enabled=bool(row.enabled),
        disabled_because=row.disabled_because,
        last_success_at=_time(row.last_success_us),
        failing_since=_time(row.failing_since_us),
        after_sequence=row.after_sequence,
    )


def delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "account_id": delivery.account_id,
        "event": delivery.event.value,
        "subject_id": delivery.subject_id,
        "body": delivery.body,
        "created_at_us": microseconds(delivery.created_at),
        **changing(delivery),
    }


def changing(delivery: Delivery) -> dict[str, Any]:
    """The columns of a delivery that change."""
    tries = [
        (microseconds(attempt.at), attempt.took // timedelta(microseconds=1), attempt.http_status, attempt.error)
        for attempt in delivery.tries
    ]
    return {
        "state": int(delivery.state),
        "tries": json.dumps(tries, separators=(",", ":")),
        "next_try_us": _us(delivery.next_try_at),
    }


def delivery_from(row: Row[Any]) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        webhook_id=row.webhook_id,
        account_id=row.account_id,
        event=Event(row.event),
        subject_id=row.subject_id,
        body=row.body,
        created_at=time_of(row.created_at_us),
        state=State(row.state),
        tries=tuple(
            Try(time_of(at), timedelta(microseconds=took), status, error)
            for at, took, status, error in json.loads(row.tries)
        ),
        next_try_at=_time(row.next_try_us),
    )
