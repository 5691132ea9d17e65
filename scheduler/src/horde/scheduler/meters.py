"""What is measured of pictures that are painted a second time: how they ended, and how much of all work they are."""

from __future__ import annotations

from collections import Counter

from opentelemetry import metrics

from horde.scheduler.core.checks import Checks

_METER = metrics.get_meter("horde.scheduler")
CHECKS = _METER.create_counter(
    "horde.scheduler.checks", unit="{picture}", description="Pictures that were looked at, by what was found."
)
WORK = _METER.create_counter(
    "horde.scheduler.work", unit="{megapixel_step}", description="What was painted, for requesters and for checks."
)


class CheckMeters:
    """Tells of what is new since it told last."""

    def __init__(self) -> None:
        self._over: Counter[str] = Counter()
        self._work = {"requested": 0.0, "check": 0.0}

    def tell(self, checks: Checks) -> None:
        """Count what has come to be."""
        if checks.work == self._work["requested"] and checks.checked == self._work["check"]:
            return
        for verdict, count in checks.over.items():
            CHECKS.add(count - self._over[verdict], {"verdict": verdict})
            self._over[verdict] = count
        for purpose, done in (("requested", checks.work), ("check", checks.checked)):
            # What was not painted after all is given back: it is told once more has been painted.
            if done > self._work[purpose]:
                WORK.add(done - self._work[purpose], {"purpose": purpose})
                self._work[purpose] = done
