"""What is asked of a call's context, whoever calls."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

from horde.gateway.core.errors import RateLimited
from horde.services.addresses import HasPeer, caller_bucket
from horde.services.rates import Draw, Rate, TooOften


class CallContext(HasPeer, Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


def refuse(verdict: TooOften | None) -> None:
    """Raise RateLimited if there is a verdict."""
    if verdict is not None:
        wait = timedelta(seconds=verdict.seconds)
        raise RateLimited(metadata={"limit": str(verdict.draw.rate)}, retry_after=wait)


def failure_of(context: CallContext, rate: Rate) -> Draw:
    """One failure, counted against where the call comes from."""
    return Draw(f"failures {caller_bucket(context)}", rate, of_address=True)


def credentials_of(context: CallContext) -> list[str | bytes]:
    """What a call shows."""
    return [value for key, value in context.invocation_metadata() or () if key == "authorization"]
