"""Sending: what is due is called, so many at a time, and what came of it is kept.

Nothing is looked at again and again: accounts with something to deliver stand in `Turns` by when it is due, and wake
this up. A call holds a place, of which an account, a host, and all who did not answer last time have a share. What was
under way when the process ended is due still, and is called again under its id.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from random import SystemRandom
from typing import Final

from opentelemetry import metrics

from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.loops import Loops
from horde.services.shares import Pot, Taker
from horde.services.terms import Replaced
from horde.webhooks.core import signing
from horde.webhooks.core.deliveries import MAX_WAITING, Delivery, Outcome, Try, tried
from horde.webhooks.core.errors import DeliveryNotFound, TooManyTries, too_many
from horde.webhooks.core.targets import BadUrl, target_of
from horde.webhooks.core.turns import Turns
from horde.webhooks.core.webhooks import Webhook
from horde.webhooks.neighbours.receivers import Receivers, of_account
from horde.webhooks.payloads import notices
from horde.webhooks.store.port import WebhookStore
from horde.webhooks.store.sealing import Seals

log = telemetry.get_logger(__name__)

CALLS = metrics.get_meter("horde.webhooks").create_counter(
    "horde.webhooks.calls", unit="{call}", description="Calls of webhooks, by the class of the answer."
)

ANSWER_SECONDS: Final = 15.0
"""How long a receiver has for its answer, from the look at its name on."""
MAX_CALLS: Final = 128
KEPT: Final = 64
"""Places for those whose last call was answered."""
SHARES: Final = {"account": 1 / 16, "host": 1 / 4}
"""Of the places that are free. One account has 7 at most, one host 25."""
MAX_ASKED: Final = 32
"""Places for calls that owners ask for. They have their own: what happens is told whoever tries what."""
ASKED_KEPT: Final = 16
ASKED_SHARES: Final = {"account": 1 / 8, "host": 1 / 4, "network": 1 / 4}
"""Of these. One account has 3 at most, one network 6; those without a record 1 and 3."""
MAX_TESTS: Final = 20
"""Of one webhook, that are kept."""
DEFECT_SECONDS: Final = 60.0
"""Until the next try, when what came of one could not be kept because of a defect."""
AT_ONCE: Final = 8
"""Deliveries that are read of one account in one turn: more than its share of places."""
PAUSE_SECONDS: Final = 2.0
"""Until the next try, when the database was away."""


class Sending:
    """Calls what is due."""

    def __init__(self, store: WebhookStore, receivers: Receivers, seals: Seals, clock: Clock, loops: Loops) -> None:
        self._store = store
        self._receivers = receivers
        self._seals = seals
        self._clock = clock
        self._loops = loops
        self._pot = Pot(MAX_CALLS, SHARES, lambda _: too_many(MAX_CALLS, 5.0), kept=KEPT)
        self._asked = Pot(MAX_ASKED, ASKED_SHARES, lambda _: too_many(MAX_ASKED, 5.0), kept=ASKED_KEPT)
        self._turns = Turns()
        self._postponed: dict[str, None] = {}
        """Accounts for which there was no place; each time a place is free, two of them have their turn again."""
        self._calling: defaultdict[str, set[str]] = defaultdict(set)
        """Deliveries that are being called, by account."""
        self._through: set[str] = set()
        """Those that are called no more since what is due was read."""
        self._woken = asyncio.Event()
        self._chance = SystemRandom().random

    @property
    def calls(self) -> int:
        """Calls that are under way."""
        return self._pot.used + self._asked.used

    def wake(self, account_ids: Collection[str]) -> None:
        """Something of these may be due."""
        now = self._clock.now()
        for account_id in account_ids:
            self._turns.put(account_id, now)
        self._woken.set()

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            try:
                for account_id, at in (await self._store.due_accounts()).items():
                    self._turns.put(account_id, at)
                while True:
                    await self._turn()
            except ServiceError as error:
                # All that is due is looked for anew: whose turn was taken is not forgotten.
                log.warning("deliveries could not be looked at", error=str(error))
                await self._clock.sleep(PAUSE_SECONDS)

    async def _turn(self) -> None:
        """One account's turn, or waiting until there is one."""
        self._woken.clear()
        now = self._clock.now()
        if (account_id := self._turns.take(now)) is not None:
            await self._serve(account_id, now)
        elif self._postponed and not self._calling:
            # Nobody holds a place any more, so that nobody else would wake those who wait for one.
            self._resume()
        else:
            await self._wait(now)

    async def _wait(self, now: datetime) -> None:
        timer = None
        if (at := self._turns.next_at()) is not None:
            timer = self._clock.call_later(max(0.0, (at - now).total_seconds()), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _serve(self, account_id: str, now: datetime) -> None:
        """Call what is due of an account, as far as there are places. What is not looked at has its turn when one of
        those that are called now is through."""
        self._through.clear()
        waiting = await self._store.due(account_id, AT_ONCE + len(self._calling.get(account_id, ())))
        # What was called while it was read is not due any more, though it may have been read as if it were.
        calling = self._through | self._calling.get(account_id, set())
        for delivery, webhook in waiting:
            if delivery.delivery_id in calling:
                continue
            assert delivery.next_try_at is not None
            if delivery.next_try_at > now:
                self._turns.put(account_id, delivery.next_try_at)
                return
            taker = _taker(webhook)
            try:
                self._take(delivery, self._pot, taker)
            except TooManyTries:
                self._postponed[account_id] = None
                return
            self._loops.spawn("delivery", self._deliver(delivery, webhook, taker))

    def _take(self, delivery: Delivery, pot: Pot, taker: Taker) -> None:
        """A place for a call. Raises TooManyTries."""
        if delivery.delivery_id in self._calling.get(delivery.account_id, ()):
            raise too_many(1, ANSWER_SECONDS)
        pot.take(taker)
        self._calling[delivery.account_id].add(delivery.delivery_id)

    def _give_back(self, delivery: Delivery, pot: Pot, taker: Taker) -> None:
        calling = self._calling[delivery.account_id]
        calling.discard(delivery.delivery_id)
        self._through.add(delivery.delivery_id)
        if not calling:
            del self._calling[delivery.account_id]
        pot.give_back(taker)
        self._resume()
        self.wake([delivery.account_id])

    def _resume(self) -> None:
        """Two of those for whom there was no place have their turn: more come back than leave."""
        ready = list(islice(self._postponed, 2))
        for account_id in ready:
            del self._postponed[account_id]
        self.wake(ready)

    async def _deliver(self, delivery: Delivery, webhook: Webhook, taker: Taker) -> None:
        """Call, and keep what comes of it."""
        try:
            await self._try(delivery, webhook, asked=False)
        except Replaced:
            raise
        except ServiceError as error:
            # It is due still, and is called again.
            log.warning("what came of a delivery could not be kept", error=str(error))
            await self._clock.sleep(PAUSE_SECONDS)
        except Exception as error:
            log.error("what came of a delivery could not be kept", delivery=delivery.delivery_id, exc_info=error)
            await self._clock.sleep(DEFECT_SECONDS)
        finally:
            self._give_back(delivery, self._pot, taker)

    async def try_now(self, delivery: Delivery, webhook: Webhook, network: str, *, new: bool = False) -> Delivery:
        """Call once because its owner asks, whatever its state, and keep what comes of it. `new`: it is a test that is
        not kept so far. Raises TooManyTries, and DeliveryNotFound where it is gone meanwhile."""
        taker = _taker(webhook, network)
        self._take(delivery, self._asked, taker)
        try:
            if new:
                await self._store.add_test(delivery, MAX_TESTS)
            kept = await self._try(delivery, webhook, asked=True)
        finally:
            self._give_back(delivery, self._asked, taker)
        if kept is None:
            raise DeliveryNotFound(metadata={"delivery_id": delivery.delivery_id})
        return kept

    async def _try(self, delivery: Delivery, webhook: Webhook, *, asked: bool) -> Delivery | None:
        attempt = await self._call(delivery, webhook)

        def decide(delivery: Delivery, now: Webhook) -> Outcome:
            return tried(delivery, now, attempt, self._chance, url=webhook.url, asked=asked)

        return await self._store.keep_try(delivery, decide, self._notices)

    async def _call(self, delivery: Delivery, webhook: Webhook) -> Try:
        """Call once."""
        at, began = self._clock.now(), self._clock.monotonic()
        body = delivery.body.encode()
        status, error = 0, ""
        taker = of_account(webhook.account_id, known=_is_known(webhook))
        try:
            secrets = [self._seals.open(secret) for secret in webhook.secrets(at)]
            headers = signing.headers(delivery.delivery_id, int(at.timestamp()), body, secrets)
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await self._receivers.post(webhook.url, headers, body, taker)
        except TimeoutError:
            error = f"No answer came within {ANSWER_SECONDS:.0f} seconds."
        except (OSError, BadUrl) as failure:
            error = str(failure)
        except Exception as defect:
            log.error("a webhook could not be called", delivery=delivery.delivery_id, exc_info=defect)
            error = "It could not be called."
        CALLS.add(1, {"outcome": f"{status // 100}xx" if status else "none"})
        return Try(at, timedelta(seconds=self._clock.monotonic() - began), status, error)

    async def told(self, deliveries: Sequence[Delivery]) -> None:
        """There are new deliveries, which are kept. What more of them wait for than may is disabled."""
        account_ids = {delivery.account_id for delivery in deliveries}
        self.wake(account_ids)
        because = f"More than {MAX_WAITING} deliveries of your account waited, most of them for this one."

        def disable(webhook: Webhook) -> Webhook:
            return replace(webhook, enabled=False, disabled_because=because) if webhook.enabled else webhook

        for webhook in await self._store.overfull(account_ids, MAX_WAITING):
            await self._store.change_webhook(webhook.account_id, webhook.webhook_id, disable, notices=self._notices)

    def _notices(self, disabled: Webhook, theirs: Sequence[Webhook]) -> Sequence[Delivery]:
        log.info("a webhook is disabled", webhook=disabled.webhook_id, why=disabled.disabled_because)
        return notices(disabled, theirs, self._clock.now())


def _is_known(webhook: Webhook) -> bool:
    """Whether it answered last time."""
    return webhook.last_success_at is not None and webhook.failing_since is None


def _taker(webhook: Webhook, network: str = "") -> Taker:
    """Who holds a place. `network`: of whoever asks for the call."""
    keys = (("account", webhook.account_id), ("host", _host(webhook.url)), ("network", network))
    return Taker(keys, _is_known(webhook))


def _host(url: str) -> str:
    try:
        return target_of(url).host
    except BadUrl:
        return ""
