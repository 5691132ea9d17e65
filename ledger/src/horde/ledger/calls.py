"""A call that waits for its events to be applied."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event


@dataclass(slots=True, eq=False)
class Call:
    """Events of one caller, and what is decided on them so far."""

    events: Sequence[Event]
    future: asyncio.Future[list[Answer]]
    answers: list[Answer] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    """Events, by their place, that a defect of ours keeps from being decided."""
    attempts: int = 0

    def fail(self, error: Exception) -> None:
        """Tell the caller that nobody knows, unless it was told already."""
        if not self.future.done():
            self.future.set_exception(error)
