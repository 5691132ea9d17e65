"""What owners do with their webhooks: each call by one account, which the gateway has let in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.services.clock import Clock
from horde.services.errors import FieldViolation
from horde.services.ids import Ids
from horde.services.pages import read_place, write_place
from horde.services.rates import Counters, Draw, Rate
from horde.webhooks.core.deliveries import Delivery, State, delivery_of
from horde.webhooks.core.errors import (
    AddressNotAllowed,
    DeliveryNotFound,
    InvalidField,
    RequestConflict,
    TooManyTries,
    TooManyWebhooks,
    WebhookNotFound,
    too_many,
)
from horde.webhooks.core.signing import BadSecret, secret_of
from horde.webhooks.core.targets import BadUrl, target_of
from horde.webhooks.core.webhooks import (
    MAX_LABEL_CHARACTERS,
    MAX_PREFIX_CHARACTERS,
    MAX_WEBHOOKS,
    OVERLAP,
    Event,
    Webhook,
)
from horde.webhooks.doors.visitors import Visiting
from horde.webhooks.doors.wire import EVENTS
from horde.webhooks.hearing import Hearing
from horde.webhooks.neighbours.receivers import NotAllowed, Receivers
from horde.webhooks.payloads import body_of
from horde.webhooks.sending import Sending
from horde.webhooks.store.port import WebhookStore
from horde.webhooks.store.sealing import Seals
from horde.webhooks.store.tables import microseconds

MAX_PAGE: Final = 100
USUAL_PAGE: Final = 20
CHECK_SECONDS: Final = 5.0
"""How long a name may take to resolve when a URL is given."""
ACCOUNT_TRIES: Final = Rate(30, 60)
NETWORK_TRIES: Final = Rate(120, 60)
"""Calls that owners ask for."""
MAX_SHOWN: Final = 64
"""Characters of what is no id, in an error."""


class Hooks:
    """What WebhookService does."""

    def __init__(
        self,
        store: WebhookStore,
        sending: Sending,
        hearing: Hearing,
        receivers: Receivers,
        seals: Seals,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._sending = sending
        self._hearing = hearing
        self._receivers = receivers
        self._seals = seals
        self._clock = clock
        self._ids = ids
        self._tries = Counters()

    async def create(self, account_id: str, request: pb.CreateWebhookRequest) -> Webhook:
        """Add a webhook, or show the one of the same request."""
        wrong: list[FieldViolation] = []
        if not _is_uuid(request.request_id):
            wrong.append(FieldViolation("request_id", "must be a UUID in lower case"))
        secret = _secret(wrong, request.secret)
        url = _url(wrong, request.url)
        label = _label(wrong, request.label)
        events = _events(wrong, request.events)
        prefix = _prefix(wrong, request.request_id_prefix)
        if wrong:
            raise InvalidField(violations=wrong)
        asked = {
            "url": url,
            "label": label,
            "events": sorted(event.value for event in events),
            "request_id_prefix": prefix,
            "secret": hashlib.sha256(secret).hexdigest(),
        }
        for known in await self._store.webhooks(account_id):
            if known.request_id == request.request_id:
                # It answers as it did, wherever its name leads by now.
                return _same(known, asked)
        await self._check(url, account_id)
        sequence = await self._hearing.head()
        webhook = Webhook(
            webhook_id=str(self._ids.new()),
            account_id=account_id,
            request_id=request.request_id,
            asked=json.dumps(asked),
            url=url,
            label=label,
            events=events,
            request_id_prefix=prefix,
            secret=self._seals.seal(secret),
            created_at=self._clock.now(),
            after_sequence=sequence,
        )
        kept = await self._store.add_webhook(webhook, MAX_WEBHOOKS, sequence)
        if kept is None:
            raise TooManyWebhooks(metadata={"limit": str(MAX_WEBHOOKS)})
        self._hearing.begin()
        return _same(kept, asked)

    async def all_of(self, account_id: str) -> Sequence[Webhook]:
        """An account's webhooks, oldest first."""
        return await self._store.webhooks(account_id)

    async def update(self, account_id: str, request: pb.UpdateWebhookRequest) -> Webhook:
        """Change what is present."""
        known = await self._known(account_id, request.webhook_id)
        fields: dict[str, Any] = {}
        wrong: list[FieldViolation] = []
        if request.HasField("url"):
            fields["url"] = _url(wrong, request.url)
        if request.HasField("label"):
            fields["label"] = _label(wrong, request.label)
        if request.events:
            fields["events"] = _events(wrong, request.events)
        if request.HasField("request_id_prefix"):
            fields["request_id_prefix"] = _prefix(wrong, request.request_id_prefix)
        secret = _secret(wrong, request.secret) if request.HasField("secret") else None
        if wrong:
            raise InvalidField(violations=wrong)
        # What may take its time comes before the change, and the change is made to what is there then.
        if request.HasField("url"):
            await self._check(request.url, account_id)
        sequence = await self._hearing.head() if request.enabled else None
        now, sealed = self._clock.now(), self._seals.seal(secret or b"")

        def change(webhook: Webhook) -> Webhook:
            changed = replace(webhook, **fields)
            if changed.url != webhook.url:
                changed = replace(changed, failing_since=None)
            if secret is not None and secret != self._seals.open(webhook.secret):
                changed = replace(changed, old_secret=webhook.secret, old_until=now + OVERLAP, secret=sealed)
            if request.HasField("enabled"):
                changed = replace(changed, enabled=request.enabled, disabled_because="")
            if sequence is not None and not webhook.enabled:
                changed = replace(changed, failing_since=None, after_sequence=sequence)
            return changed

        kept = await self._store.change_webhook(account_id, known.webhook_id, change, sequence=sequence)
        if kept is None:
            raise _no_webhook(request.webhook_id)
        self._hearing.begin()
        return kept

    async def delete(self, account_id: str, webhook_id: str) -> None:
        """Remove a webhook, and soon its log."""
        if _is_uuid(webhook_id):
            await self._store.delete_webhook(account_id, webhook_id)

    async def test(self, visiting: Visiting, webhook_id: str) -> Delivery:
        """Call now, once. Raises TooManyTries."""
        webhook = await self._known(visiting.account_id, webhook_id)
        self._count_try(visiting)
        now = self._clock.now()
        body = body_of(Event.TEST, now, pb.WebhookTested(webhook_id=webhook_id))
        delivery = delivery_of(webhook, Event.TEST, webhook_id, body, now, once=str(self._ids.new()))
        delivery = replace(delivery, state=State.GIVEN_UP, next_try_at=None)
        return await self._sending.try_now(delivery, webhook, visiting.network, new=True)

    async def retry(self, visiting: Visiting, webhook_id: str, delivery_id: str) -> Delivery:
        """Call once more. Raises TooManyTries."""
        webhook = await self._known(visiting.account_id, webhook_id)
        delivery = await self._store.delivery(webhook_id, delivery_id) if _is_uuid(delivery_id) else None
        if delivery is None:
            raise DeliveryNotFound(metadata={"delivery_id": delivery_id[:MAX_SHOWN]})
        self._count_try(visiting)
        return await self._sending.try_now(delivery, webhook, visiting.network)

    def _count_try(self, visiting: Visiting) -> None:
        """Count a call that an owner asks for. Raises TooManyTries."""
        draws = [Draw(f"account {visiting.account_id}", ACCOUNT_TRIES)]
        if visiting.network:
            draws.append(Draw(f"network {visiting.network}", NETWORK_TRIES, of_address=True))
        if (refused := self._tries.admit(draws, self._clock.monotonic())) is not None:
            raise too_many(refused.draw.rate.count, refused.seconds)

    async def log(self, account_id: str, request: pb.ListDeliveriesRequest) -> tuple[Sequence[Delivery], str]:
        """A page of a webhook's deliveries, newest first, and the token of the next."""
        await self._known(account_id, request.webhook_id)
        place = read_place(request.page_token, int, str) if request.page_token else None
        wrong: list[FieldViolation] = []
        if request.page_size < 0:
            wrong.append(FieldViolation("page_size", "must not be negative"))
        if request.page_token and place is None:
            wrong.append(FieldViolation("page_token", "is not one that was given out"))
        if wrong:
            raise InvalidField(violations=wrong)
        size = min(request.page_size or USUAL_PAGE, MAX_PAGE)
        before = None if place is None else (int(place[0]), str(place[1]))
        found = await self._store.deliveries(request.webhook_id, size + 1, before)
        page = found[:size]
        token = write_place(microseconds(page[-1].created_at), page[-1].delivery_id) if len(found) > size else ""
        return page, token

    async def _known(self, account_id: str, webhook_id: str) -> Webhook:
        webhook = await self._store.webhook(account_id, webhook_id) if _is_uuid(webhook_id) else None
        if webhook is None:
            raise _no_webhook(webhook_id)
        return webhook

    async def _check(self, url: str, account_id: str) -> None:
        """Raise AddressNotAllowed where nobody would be called at this URL now; TooManyTries where that is not known so
        far, or where others of the account's are being looked at."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._receivers.check(url, account_id)
        except NotAllowed as error:
            raise AddressNotAllowed(metadata={"why": str(error)}) from error
        except TimeoutError as error:
            # Not UNAVAILABLE, which channels repeat at once: who looks is busy with it still.
            why = "This URL's host is being looked up still: its name server does not answer."
            raise TooManyTries(why, metadata={"limit": "1"}, retry_after=timedelta(seconds=10)) from error


def _no_webhook(webhook_id: str) -> WebhookNotFound:
    return WebhookNotFound(metadata={"webhook_id": webhook_id[:MAX_SHOWN]})


def _same(kept: Webhook, asked: dict[str, Any]) -> Webhook:
    """A webhook, if its creation asked for this. Raises RequestConflict."""
    before = json.loads(kept.asked)
    for field, value in asked.items():
        if before[field] != value:
            raise RequestConflict(metadata={"field": field})
    return kept


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _secret(wrong: list[FieldViolation], text: str) -> bytes:
    try:
        return secret_of(text)
    except BadSecret as error:
        wrong.append(FieldViolation("secret", str(error)))
        return b""


def _url(wrong: list[FieldViolation], url: str) -> str:
    try:
        target_of(url)
    except BadUrl as error:
        wrong.append(FieldViolation("url", str(error)))
    return url


def _label(wrong: list[FieldViolation], label: str) -> str:
    if len(label) > MAX_LABEL_CHARACTERS:
        wrong.append(FieldViolation("label", f"must have at most {MAX_LABEL_CHARACTERS} characters"))
    elif not label.isprintable():
        wrong.append(FieldViolation("label", "must not contain control characters"))
    return label


def _events(wrong: list[FieldViolation], numbers: Sequence[int]) -> frozenset[Event]:
    if not numbers:
        wrong.append(FieldViolation("events", "at least one is needed"))
    wrong += [
        FieldViolation(f"events[{place}]", f"{number} is not one of its values that can be asked for here")
        for place, number in enumerate(numbers)
        if number not in EVENTS
    ]
    return frozenset(EVENTS[number] for number in numbers if number in EVENTS)


def _prefix(wrong: list[FieldViolation], prefix: str) -> str:
    if len(prefix) > MAX_PREFIX_CHARACTERS or not prefix.isprintable():
        wrong.append(FieldViolation("request_id_prefix", f"must have at most {MAX_PREFIX_CHARACTERS} characters"))
    return prefix
