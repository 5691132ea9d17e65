"""What is needed of a call that comes in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class CallContext(Protocol):
    """What is needed of a call's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What came with the call."""

    def peer(self) -> str:
        """Where the call came from, such as `ipv4:127.0.0.1:50000`."""


def credentials_of(context: CallContext) -> list[str | bytes]:
    """Every `authorization` that came with it."""
    return [value for key, value in context.invocation_metadata() or () if key == "authorization"]
