"""Places where a test can make the process fail, die or dawdle.

A module declares its points by name and passes them where a failure would hurt most:

    AFTER_COMMIT = declare("ledger.after_commit")
    ...
    await failpoint(AFTER_COMMIT)

Nothing happens unless the operator armed the point: `name=kill@3` (SIGKILL at the third pass), `name=delay:0.2` (every
pass), `name=error` (raises Unavailable; also `@n`: at the n-th pass alone), several of them separated by commas.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass

from horde.services.errors import Unavailable


@dataclass(slots=True)
class _Armed:
    action: str
    seconds: float = 0.0
    at: int | None = None
    passed: int = 0

    def due(self) -> bool:
        self.passed += 1
        return self.at is None or self.passed == self.at


_declared: set[str] = set()
_armed: dict[str, _Armed] = {}


def declare(name: str) -> str:
    """Make a point known by name, and return the name."""
    _declared.add(name)
    return name


def declared() -> frozenset[str]:
    """Every point of the modules that are loaded."""
    return frozenset(_declared)


def arm(spec: str) -> None:
    """Arm the points that `spec` names; an empty text arms none. Raises ValueError for what it cannot be."""
    _armed.clear()
    for part in filter(None, (part.strip() for part in spec.split(","))):
        name, _, action = part.partition("=")
        if name not in _declared:
            raise ValueError(f"no failpoint is called {name!r}; there are {', '.join(sorted(_declared)) or 'none'}")
        action, _, at = action.partition("@")
        action, _, seconds = action.partition(":")
        if action not in ("kill", "delay", "error") or (action == "delay") != bool(seconds):
            raise ValueError(f"{part!r} is not kill, error or delay:SECONDS, with an optional @N")
        _armed[name] = _Armed(action, float(seconds or 0), int(at) if at else None)


async def failpoint(name: str) -> None:
    """Pass a point in code that may wait."""
    if _armed and (armed := _armed.get(name)) and armed.due():
        if armed.action == "delay":
            await asyncio.sleep(armed.seconds)
        else:
            _fail(name, armed)


def failpoint_sync(name: str) -> None:
    """Pass a point in code that runs in a thread."""
    if _armed and (armed := _armed.get(name)) and armed.due():
        if armed.action == "delay":
            time.sleep(armed.seconds)
        else:
            _fail(name, armed)


def _fail(name: str, armed: _Armed) -> None:
    if armed.action == "kill":
        # Windows knows no SIGKILL; there every signal that it does know ends a process on the spot.
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    raise Unavailable(f"failpoint {name}")
