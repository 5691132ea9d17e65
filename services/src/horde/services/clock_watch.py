"""Comparing clocks by the times that others write on what they send: a line and a metric where two machines differ.

A time from the future proves that its writer's clock is ahead of ours. One that should be of this moment and never is
shows that it is behind, or that what we get is old: so only the youngest of many counts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from opentelemetry import metrics

from horde.services import telemetry

log = telemetry.get_logger(__name__)

TOLERATED_SECONDS = 5.0
"""Less is no difference: times are whole seconds, and messages are on their way for a while."""
MANY = 32
"""Of so many times, the youngest is of this moment."""
REMIND_SECONDS = 300.0
"""Between lines about the same writer."""


class ClockWatch:
    """How far the clocks of others are from ours. For one thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._youngest: dict[str, tuple[int, float]] = {}
        self._told: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        """How far each writer's clock is ahead of ours, or, below 0, behind; only where they differ."""
        metrics.get_meter("horde.services").create_observable_gauge(
            "horde.clock.difference", [self._observe], "s", "How far another service's clock is ahead of this one's"
        )

    def compare(self, writer: str, written: float, now: datetime, *, fresh: bool) -> None:
        """Take note of a time (seconds since 1970) that a writer put on something; `fresh` if it was made just now."""
        age = now.timestamp() - written
        if age < -TOLERATED_SECONDS:
            self._youngest.pop(writer, None)
            self._differs(writer, -age)
        elif fresh:
            count, youngest = self._youngest.get(writer, (0, age))
            self._youngest[writer] = count, youngest = count + 1, min(youngest, age)
            if count == MANY:
                del self._youngest[writer]
                self._differs(writer, -youngest if youngest > TOLERATED_SECONDS else 0.0)

    def _differs(self, writer: str, seconds: float) -> None:
        if not seconds:
            if self.seconds.pop(writer, None) is not None:
                self._told.pop(writer, None)
                log.info("a clock agrees with this one again", service=writer)
            return
        self.seconds[writer] = seconds
        now = self._monotonic()
        if now - self._told.get(writer, float("-inf")) >= REMIND_SECONDS:
            self._told[writer] = now
            log.warning("a clock differs from this one", service=writer, ahead_seconds=round(seconds, 1))

    def _observe(self, options: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(seconds, {"service": writer}) for writer, seconds in self.seconds.items()]
