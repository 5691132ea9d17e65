"""Cutting what waits into messages that are bounded in items and in bytes: prompts and deviations make items large."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""Of one message, a quarter of the smallest limit that a neighbour may have; an item above it travels alone."""


def take(waiting: deque[T], max_items: int, size: Callable[[T], int], max_bytes: int = MAX_BYTES) -> list[T]:
    """Take the next message's items out of what waits, at least one if there is one."""
    taken: list[T] = []
    room = max_bytes
    while waiting and len(taken) < max_items:
        room -= size(waiting[0])
        if room < 0 and taken:
            break
        taken.append(waiting.popleft())
    return taken
