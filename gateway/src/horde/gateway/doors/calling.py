"""What is needed of a call that comes in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from horde.services.addresses import HasPeer


class CallContext(HasPeer, Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""


def credentials_of(context: CallContext) -> list[str | bytes]:
    """Every `authorization` that came with it."""
    return [value for key, value in context.invocation_metadata() or () if key == "authorization"]
