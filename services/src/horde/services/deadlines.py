"""How much time the call being served has left, handed on to the calls it makes.

The server sets it at the start of each call (a little shaved off, so that an answer still gets back), channels read
it. A task started inside a call inherits it; work that must outlive the call runs under `without_deadline()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining() -> float | None:
    """Seconds left, never below zero; None where no end is set."""
    ends = _ends.get()
    return None if ends is None else max(0.0, ends - time.monotonic())


def begin(seconds: float | None) -> None:
    """Set what is left for the current task and those that it starts."""
    _ends.set(None if seconds is None else time.monotonic() + seconds)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Shorten what is left; never lengthens it."""
    ends = time.monotonic() + seconds
    current = _ends.get()
    token = _ends.set(ends if current is None else min(ends, current))
    try:
        yield
    finally:
        _ends.reset(token)


@contextmanager
def without_deadline() -> Iterator[None]:
    """Forget the caller's end, for work that goes on after the answer."""
    token = _ends.set(None)
    try:
        yield
    finally:
        _ends.reset(token)
