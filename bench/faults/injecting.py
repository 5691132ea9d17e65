"""What goes wrong, when: drawn from the seed, counted by kind, and none of it any more once the world is healed."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from random import Random
from typing import Any

from faults.virtual import current_process
from horde.services import failpoints
from horde.services.errors import Unavailable

RATES = {
    "request lost": 0.01,
    "answer lost": 0.015,
    "request twice": 0.01,
    "slow message": 0.03,
    "stream broken": 0.002,
    "store failed before": 0.01,
    "store failed after": 0.01,
    "store slow": 0.02,
    "lock lost": 0.01,
    "worker hangs up": 0.01,
    "killed at a failpoint": 0.0015,
    "delayed at a failpoint": 0.01,
    "failed at a failpoint": 0.003,
}
"""Chance of each at each place where it can happen; an episode has its own multiple of each, often 0."""
MULTIPLES = (0.0, 0.0, 1.0, 1.0, 4.0)


class Faults:
    """An episode's misfortunes."""

    def __init__(self, seed: str) -> None:
        self.chance = Random(f"{seed}/faults")
        self._rates = {kind: rate * self.chance.choice(MULTIPLES) for kind, rate in RATES.items()}
        self.counts: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        """Failpoints that were passed, by name."""
        self.healed = False

    def happens(self, kind: str) -> bool:
        """Whether this goes wrong now."""
        rate = self._rates[kind]
        if self.healed or not rate or self.chance.random() >= rate:
            return False
        self.counts[kind] += 1
        return True

    def delay(self) -> float:
        """Seconds that a message is under way."""
        seconds = 0.0005 + 0.003 * self.chance.random()
        if self.happens("slow message"):
            seconds += 3.0 * self.chance.random() ** 3
        return seconds

    async def at_store(self, done: bool) -> None:
        """What a store's caller meets, before it is done or after."""
        await asyncio.sleep(0.001 + (2.0 * self.chance.random() if self.happens("store slow") else 0.0))
        self.stop_if_dead()
        if self.happens("store failed after" if done else "store failed before"):
            raise Unavailable("The store does not answer.")

    @staticmethod
    def stop_if_dead() -> None:
        """A dead process reaches nobody."""
        process = current_process()
        if process is not None and not process.alive:
            raise asyncio.CancelledError


class Armed:
    """A failpoint that does something, as `horde.services.failpoints` reads it."""

    def __init__(self, action: str, seconds: float = 0.0) -> None:
        self.action = action
        self.seconds = seconds

    def due(self) -> bool:
        return True


class Points(dict[str, Any]):
    """In place of the armed failpoints: each passing is counted, and may be fatal."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def __bool__(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Armed | None:
        faults = self._faults
        faults.passed[name] += 1
        process = current_process()
        if process is None or not process.alive:
            return None
        if faults.happens("killed at a failpoint"):
            return Armed("kill")
        if sys._getframe(1).f_code.co_name == "failpoint_sync":
            return None  # There nothing can wait, and what fails ends the process: which a kill shows as well.
        if faults.happens("delayed at a failpoint"):
            return Armed("delay", 2.0 * faults.chance.random())
        return Armed("error") if faults.happens("failed at a failpoint") else None


def _fail(name: str, armed: Armed) -> None:
    if armed.action != "kill":
        raise Unavailable(f"failpoint {name}")
    process = current_process()
    assert process is not None
    process.kill()
    raise asyncio.CancelledError


_as_armed = vars(failpoints)["_fail"]


def arm(faults: Faults) -> None:
    """Have this episode's failpoints do what it draws."""
    vars(failpoints)["_armed"] = Points(faults)
    vars(failpoints)["_fail"] = _fail


def disarm() -> None:
    """No failpoint does anything any more, until one is armed."""
    vars(failpoints).update(_armed={}, _fail=_as_armed)
