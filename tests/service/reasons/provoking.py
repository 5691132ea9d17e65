"""How a reason is provoked: functions that make a real service refuse over the wire, each by the reason it provokes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path
from typing import Any

from google.rpc import status_pb2

from horde.services.errors import ServiceError
from horde.services.status import from_status

Provoke = Callable[[Path], Awaitable[ServiceError]]

ACCOUNT = "horde.api.account.v1"
GENERATION = "horde.api.generation.v1"
LEDGER = "horde.api.ledger.v1"
MODEL = "horde.api.model.v1"
STORAGE = "horde.api.storage.v1"
WORKER = "horde.api.worker.v1"
MODERATION = "horde.api.moderation.v1"
RATING = "horde.api.rating.v1"
RELEASE = "horde.api.release.v1"
SCHEDULER = "horde.internal.scheduler.v1"
STANDING = "horde.api.standing.v1"
WEBHOOK = "horde.api.webhook.v1"
STATISTICS = "horde.api.statistics.v1"
MESH = "mesh"

PROVOKED: dict[tuple[str, str], Provoke] = {}


def provokes(domain: str, reason: str) -> Callable[[Provoke], Provoke]:
    """Say which reason a function provokes. It gets an empty folder."""

    def register(provoke: Provoke) -> Provoke:
        assert (domain, reason) not in PROVOKED, f"{reason} is provoked twice"
        PROVOKED[domain, reason] = provoke
        return provoke

    return register


async def refusal(call: Any) -> ServiceError:
    """What a call ends with."""
    try:
        if isinstance(call, AsyncIterable):
            async for _ in call:
                pass
        else:
            await call
    except ServiceError as error:
        return error
    raise AssertionError("it was not refused")


def item(status: status_pb2.Status) -> ServiceError:
    """What one item of a call was refused with."""
    assert status.code, "it was not refused"
    return from_status(status)
