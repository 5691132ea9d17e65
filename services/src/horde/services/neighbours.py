"""Saying in the log when a neighbour begins to fail and when it is back: a line each, however much is asked of it.

Whoever asks a neighbour (a channel, a bucket, a database) tells a `Watch` how each asking went. An operator then sees
the beginning, the end, and how much failed between them; not one line for each call, and not none.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from horde.services import telemetry

log = telemetry.get_logger(__name__)

QUIET_SECONDS = 10.0
"""After a line about one neighbour, until the next that says that it begins to fail: what fails every other time would
fill the log."""
REMIND_SECONDS = 300.0
"""Between lines about a neighbour that goes on failing."""


class Watch:
    """How one neighbour answers. For one thread."""

    def __init__(self, neighbour: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._neighbour = neighbour
        self._monotonic = monotonic
        self._failures = 0
        """Since the last line that says it is back."""
        self._began: float | None = None
        """When it failed after it had last answered."""
        self._told = False
        """The log says that it fails."""
        self._last_line = float("-inf")

    def note(self, failure: object | None) -> None:
        """How one asking went: why it failed, or None."""
        if failure is None:
            self.answered()
        else:
            self.failed(failure)

    def failed(self, why: object) -> bool:
        """It did not do what it was asked: it is away, broken, or does not let us in. Whether a line says so."""
        now = self._monotonic()
        self._failures += 1
        if self._began is None:
            self._began = now
        if now - self._last_line < (REMIND_SECONDS if self._told else QUIET_SECONDS):
            return False
        words = "a neighbour still fails" if self._told else "a neighbour fails"
        self._told, self._last_line = True, now
        log.warning(words, neighbour=self._neighbour, why=str(why), failures=self._failures)
        return True

    def answered(self) -> None:
        """It did, or it said properly why not."""
        if self._began is None:
            return
        if self._told:
            now = self._monotonic()
            seconds = round(now - self._began, 1)
            log.info("a neighbour is back", neighbour=self._neighbour, failures=self._failures, seconds=seconds)
            self._failures, self._told, self._last_line = 0, False, now
        self._began = None
