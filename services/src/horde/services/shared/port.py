"""The port: counting draws together with the other replicas, and telling them news."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from horde.services.rates import Draw, TooOften

Hear = Callable[[bytes], None]
"""Takes a piece of news; it must not wait, nor raise."""

MAX_NEWS_BYTES = 64 * 1024
"""Of one piece of news."""


class Shared(Protocol):
    """A memory that replicas share. Everything in it may be lost at any time."""

    async def admit(self, draws: Sequence[Draw]) -> TooOften | None:
        """Count all draws with everybody's and return None; or say which does not pass, and count none.

        Where the others cannot be reached, this process counts alone.
        """

    async def look(self, draws: Sequence[Draw]) -> TooOften | None:
        """Say what `admit` would say, and count nothing."""

    def publish(self, topic: str, news: bytes) -> None:
        """Tell every replica that has subscribed, this one included. Never waits; what cannot go is dropped."""

    def subscribe(self, topic: str, hear: Hear) -> Callable[[], None]:
        """Hear what is published from now on; call what is returned to hear no more."""

    def on_joined(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever this process is among the others (again), once subscriptions are in force: what
        was said meanwhile was not heard."""
