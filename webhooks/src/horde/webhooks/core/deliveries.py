"""Deliveries: one thing that one webhook is to be told, every try of it, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID, uuid5

from horde.webhooks.core.webhooks import Event, Webhook

PAUSES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)  # fmt: skip
"""Until the next try, after each that failed: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""
JITTER: Final = 0.2
"""By how much of itself a pause is longer or shorter: those that failed together do not come back together."""
GIVES_UP: Final = timedelta(days=5)
"""Without one success: then the webhook is disabled."""
MAX_WAITING: Final = 10_000
"""Deliveries of one account that wait."""
MAX_TRIES_KEPT: Final = 20
GONE: Final = 410


class State(IntEnum):
    """How far a delivery is; the numbers are the contract's."""

    PENDING = 1
    DELIVERED = 2
    GIVEN_UP = 3


@dataclass(frozen=True, slots=True)
class Try:
    """One call."""

    at: datetime
    took: timedelta
    http_status: int = 0
    """0: no answer came."""
    error: str = ""
    """Where no answer came: why, for people."""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.http_status < 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing that is to be told."""

    delivery_id: str
    webhook_id: str
    account_id: str
    event: Event
    subject_id: str
    """The generation, entry, restriction or webhook that it is about."""
    body: str
    created_at: datetime
    state: State = State.PENDING
    tries: tuple[Try, ...] = ()
    next_try_at: datetime | None = None
    """Absent: it is not tried by itself."""


def delivery_of(
    webhook: Webhook, event: Event, subject_id: str, body: str, now: datetime, *, once: str = ""
) -> Delivery:
    """Something to be told; the same thing twice has one id. `once`: tells times apart of what happens again."""
    delivery_id = str(uuid5(UUID(webhook.webhook_id), f"{event.value} {subject_id} {once}"))
    return Delivery(
        delivery_id, webhook.webhook_id, webhook.account_id, event, subject_id, body, now, next_try_at=now
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try makes of a delivery and of its webhook."""

    delivery: Delivery
    webhook: Webhook


def tried(delivery: Delivery, webhook: Webhook, attempt: Try, chance: Callable[[], float]) -> Outcome:
    """What follows from a try that the mesh made by itself. `chance`: 0 to 1, anew with each call."""
    made = len(delivery.tries)
    delivery = with_try(delivery, attempt)
    if attempt.succeeded:
        return Outcome(delivery, replace(webhook, last_success_at=attempt.at, failing_since=None))
    since = webhook.failing_since or attempt.at
    webhook = replace(webhook, failing_since=since)
    if attempt.http_status == GONE:
        webhook = replace(webhook, enabled=False, disabled_because="Its address answered 410 Gone.")
    elif attempt.at - since >= GIVES_UP:
        because = f"Nothing could be delivered for {GIVES_UP.days} days, since {since:%Y-%m-%d %H:%M} UTC."
        webhook = replace(webhook, enabled=False, disabled_because=because)
    if not webhook.enabled or made >= len(PAUSES):
        return Outcome(replace(delivery, state=State.GIVEN_UP, next_try_at=None), webhook)
    pause = PAUSES[made] * (1 + JITTER * (2 * chance() - 1))
    return Outcome(replace(delivery, next_try_at=attempt.at + attempt.took + pause), webhook)


def with_try(delivery: Delivery, attempt: Try) -> Delivery:
    """A delivery with one more try; one that succeeds is the last."""
    delivery = replace(delivery, tries=(*delivery.tries, attempt)[-MAX_TRIES_KEPT:])
    if attempt.succeeded:
        delivery = replace(delivery, state=State.DELIVERED, next_try_at=None)
    return delivery
