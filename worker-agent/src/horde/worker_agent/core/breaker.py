"""When to stop offering a model that keeps failing, and when to try it again. Told the time, never asks for it."""

from __future__ import annotations

from dataclasses import dataclass

FAULTS_IN_A_ROW = 3
"""So many are a broken model; fewer may be broken requests."""
FIRST_SECONDS = 60.0
LONGEST_SECONDS = 3600.0


@dataclass(slots=True)
class Breaker:
    """One model's record: withdrawn after FAULTS_IN_A_ROW, then tried again; each further fault doubles the wait."""

    faults: int = 0
    withdrawn_until: float = 0.0
    _wait: float = 0.0

    def offered(self, now: float) -> bool:
        """Whether the model may be offered. `now` is monotonic seconds."""
        return now >= self.withdrawn_until

    def failed(self, now: float) -> float:
        """Count a fault; for how many seconds the model is withdrawn from now on, 0 if it is not."""
        self.faults += 1
        if self.faults < FAULTS_IN_A_ROW:
            return 0.0
        self._wait = min(LONGEST_SECONDS, self._wait * 2 or FIRST_SECONDS)
        self.withdrawn_until = now + self._wait
        return self._wait

    def succeeded(self) -> None:
        """It painted: the record is clean."""
        self.faults = 0
        self._wait = 0.0
        self.withdrawn_until = 0.0
