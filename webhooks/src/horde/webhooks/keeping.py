"""Keeping the log short: deliveries of more than seven days go, and those of webhooks that are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.terms import Replaced
from horde.webhooks.store.port import WebhookStore

log = telemetry.get_logger(__name__)

LOG: Final = timedelta(days=7)
AT_ONCE: Final = 1_000
PAUSE_SECONDS: Final = 60.0
BUSY_SECONDS: Final = 0.5
"""Between two steps, while there is more."""


async def sweep(store: WebhookStore, clock: Clock) -> None:
    """Delete what is over, until cancelled."""
    while True:
        gone = 0
        try:
            gone = await store.sweep(clock.now() - LOG, AT_ONCE)
        except Replaced:
            raise
        except ServiceError as error:
            log.warning("the log could not be swept", error=str(error))
        await clock.sleep(BUSY_SECONDS if gone >= AT_ONCE else PAUSE_SECONDS)
