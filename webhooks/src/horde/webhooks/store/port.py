"""The store's port: webhooks, what is to be told to each, and how far the feeds of others were read.

The adapters are held to one suite, tests/conformance/webhooks. All methods raise Unavailable when the database is away,
and those that write raise Replaced when another process leads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from horde.webhooks.core.deliveries import Delivery, Outcome
from horde.webhooks.core.webhooks import Webhook

Notices = Callable[[Webhook, Sequence[Webhook]], Sequence[Delivery]]
"""What the others of its owner's webhooks are to say of one that the mesh has disabled; all of them are given."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard, to be kept in one transaction."""

    deliveries: Sequence[Delivery] = ()
    """Those that are known already stay as they are."""
    watched: Mapping[str, str] = field(default_factory=dict)
    """Generations of which an image has ended, and whose each is."""
    over: Collection[str] = ()
    """Generations of which all is told."""
    sequence: int | None = None
    """How far the ledger's feed was read."""


class WebhookStore(Protocol):
    """Where it is kept."""

    async def add_webhook(self, webhook: Webhook, most: int, sequence: int) -> Webhook | None:
        """Keep a webhook, and where the ledger's feed is to be read from if it is not read so far.

        The account's webhook of the same request_id, where there is one; None where the account has `most`.
        """

    async def webhooks(self, account_id: str) -> Sequence[Webhook]:
        """An account's, oldest first."""

    async def webhook(self, account_id: str, webhook_id: str) -> Webhook | None:
        """One of an account's."""

    async def change_webhook(
        self,
        account_id: str,
        webhook_id: str,
        change: Callable[[Webhook], Webhook],
        *,
        notices: Notices | None = None,
        sequence: int | None = None,
    ) -> Webhook | None:
        """Keep what a webhook is changed to: what is given is as it is now, and nobody else changes it meanwhile. What
        waits for one that is disabled by it is given up, and notices of it are kept. As it is then; None: it is gone.

        `sequence`: where the ledger's feed is to be read from, if it is not read so far, and the webhook is enabled.
        """

    async def delete_webhook(self, account_id: str, webhook_id: str) -> None:
        """Delete a webhook. Its log goes with `sweep`; nobody sees it any more."""

    async def renew_secrets(self, renewed: Callable[[bytes], bytes]) -> None:
        """Keep instead of each secret what this makes of it: all of them or none."""

    async def enabled_of(self, account_ids: Collection[str]) -> Mapping[str, Sequence[Webhook]]:
        """The enabled webhooks of those of these accounts that have any."""

    async def feed_place(self) -> int | None:
        """How far the ledger's feed was read; None: nobody wants to be told of anything."""

    async def stop_feed(self) -> bool:
        """Forget how far it was read, if no webhook is enabled; whether that was so."""

    async def hear(self, heard: Heard) -> None:
        """Keep what was heard: all of it or nothing. Repeating it is harmless. What is to be tried for a webhook that
        is not enabled any more, and whatever is for one that is gone, is left out."""

    async def watched(self, limit: int, of_each: int, account_ids: Collection[str] | None = None) -> Mapping[str, str]:
        """Generations of which not all is told, and whose each is: at most `limit`, and `of_each` of an account; of all
        accounts, or of these. The first of every account come before the second of any."""

    async def overfull(self, account_ids: Collection[str], most: int) -> Sequence[Webhook]:
        """For those of these accounts of whom more than `most` deliveries wait: the webhook with the most of them."""

    async def due_accounts(self) -> Mapping[str, datetime]:
        """Accounts with something to deliver, and when the first of it is due."""

    async def due(self, account_id: str, limit: int) -> Sequence[tuple[Delivery, Webhook]]:
        """What is to be delivered of an account, the earliest first."""

    async def keep_try(
        self, delivery: Delivery, decide: Callable[[Delivery, Webhook], Outcome], notices: Notices
    ) -> Delivery | None:
        """Keep what is decided after a try: what is given is the delivery, and its webhook, as they are now. If that is
        disabled by it, what waits for it is given up, and notices of it are kept. None: one of them is gone."""

    async def add_test(self, delivery: Delivery, most: int) -> None:
        """Keep a test; of a webhook's tests the newest, `most` at most, stay."""

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery | None:
        """One delivery of a webhook."""

    async def deliveries(self, webhook_id: str, limit: int, before: tuple[int, str] | None) -> Sequence[Delivery]:
        """A webhook's log, newest first, behind a place: microseconds since 1970, and the delivery's id."""

    async def sweep(self, before: datetime, limit: int) -> int:
        """Delete deliveries of before, and of webhooks that were deleted, at most `limit`; how many it were."""

    async def forget(self, account_id: str, limit: int) -> int:
        """Delete what is kept of an account, `limit` deliveries at most; how much is left."""
