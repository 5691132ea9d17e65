"""A webhook: an address that an account wants to be told at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

MAX_WEBHOOKS: Final = 16
"""Of an account."""
MAX_LABEL_CHARACTERS: Final = 64
MAX_PREFIX_CHARACTERS: Final = 36
OVERLAP: Final = timedelta(days=1)
"""How long deliveries are signed with the old secret, too."""


class Event(Enum):
    """Something to be told of, by the name that deliveries carry."""

    GENERATION_FINISHED = "generation.finished"
    IMAGE_ENDED = "image.ended"
    KUDOS_RECEIVED = "kudos.received"
    WORKER_RESTRICTED = "worker.restricted"
    TEST = "test"
    WEBHOOK_DISABLED = "webhook.disabled"


OF_GENERATIONS: Final = frozenset({Event.GENERATION_FINISHED, Event.IMAGE_ENDED})


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address that is told."""

    webhook_id: str
    account_id: str
    request_id: str
    asked: str
    """What its creation asked for, so that a repetition is known as one."""
    url: str
    label: str
    events: frozenset[Event]
    request_id_prefix: str
    """Only of generations whose request_id begins so."""
    secret: bytes
    """Sealed, as it is kept; so is the old one."""
    created_at: datetime
    old_secret: bytes = b""
    old_until: datetime | None = None
    """Until when deliveries are signed with the old secret, too."""
    enabled: bool = True
    disabled_because: str = ""
    """Why the mesh disabled it, for people; empty: it did not."""
    last_success_at: datetime | None = None
    failing_since: datetime | None = None
    """When the first try failed after the last that did not."""
    after_sequence: int = 0
    """How far the ledger was when it was enabled: of what comes behind, whatever the clocks say, it is told."""

    def wants(self, event: Event, request_id: str = "") -> bool:
        """Whether it is to be told of such a thing."""
        return (
            self.enabled and event in self.events
            and request_id.startswith(self.request_id_prefix if event in OF_GENERATIONS else "")
        )  # fmt: skip

    def secrets(self, now: datetime) -> list[bytes]:
        """What deliveries are signed with now, sealed."""
        old = self.old_until is not None and now < self.old_until
        return [self.secret, self.old_secret] if old else [self.secret]
