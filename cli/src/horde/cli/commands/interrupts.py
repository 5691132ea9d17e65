"""Ctrl-C and the like as calls in the event loop, on every platform."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_signals(received: Callable[[], None], *numbers: signal.Signals) -> Iterator[None]:
    """Call `received` in the running loop for each of these signals, for as long as the block."""
    loop = asyncio.get_running_loop()

    # Not `loop.add_signal_handler`: Windows has none.
    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(received)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
