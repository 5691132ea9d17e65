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


def tried(
    delivery: Delivery,
    webhook: Webhook,
    attempt: Try,
    chance: Callable[[], float],
    *,
    url: str | None = None,
    asked: bool = False,
) -> Outcome:
    """What follows from a try, for a delivery and its webhook as they are now: much may have happened during the call.

    `chance`: 0 to 1, anew with each call. `url`: what was called, where that may have been changed. `asked`: its owner
    asked for this try, which changes nothing if it fails.
    """
    made = len(delivery.tries)
    delivery = replace(delivery, tries=(*delivery.tries, attempt)[-MAX_TRIES_KEPT:])
    if url in (None, webhook.url):
        webhook = _found(webhook, attempt, asked)
    if attempt.succeeded:
        return Outcome(replace(delivery, state=State.DELIVERED, next_try_at=None), webhook)
    if delivery.state is not State.PENDING:
        return Outcome(delivery, webhook)
    if not webhook.enabled or (not asked and made >= len(PAUSES)):
        return Outcome(replace(delivery, state=State.GIVEN_UP, next_try_at=None), webhook)
    if asked:
        return Outcome(delivery, webhook)
    pause = PAUSES[made] * (1 + JITTER * (2 * chance() - 1))
    return Outcome(replace(delivery, next_try_at=attempt.at + attempt.took + pause), webhook)


def _found(webhook: Webhook, attempt: Try, asked: bool) -> Webhook:
    if attempt.succeeded:
        last = max(attempt.at, webhook.last_success_at or attempt.at)
        return replace(webhook, last_success_at=last, failing_since=None)
    if asked or not webhook.enabled:
        return webhook
    since = webhook.failing_since or attempt.at
    webhook = replace(webhook, failing_since=since)
    if attempt.http_status == GONE:
        return replace(webhook, enabled=False, disabled_because="Its address answered 410 Gone.")
    if attempt.at - since >= GIVES_UP:
        because = f"Nothing could be delivered for {GIVES_UP.days} days, since {since:%Y-%m-%d %H:%M} UTC."
        return replace(webhook, enabled=False, disabled_because=because)
    return webhook
