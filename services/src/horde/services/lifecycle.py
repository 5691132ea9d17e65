"""From the first line to the exit status: running until told to stop, and stopping when told twice."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from weakref import WeakKeyDictionary

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_first: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[signal.Signals]] = WeakKeyDictionary()


async def until_signalled() -> signal.Signals:
    """Wait for SIGINT or SIGTERM; one that came while the service was starting counts."""
    return await asyncio.shield(_listen())


def run(main: Coroutine[object, object, None]) -> int:
    """Run a service to its end and say the exit status.

    The first SIGINT or SIGTERM is for `until_signalled`, from the first moment on; a second one ends the process at
    once.
    """

    async def listening() -> None:
        _listen()
        await main

    asyncio.run(listening())
    return 0


def collect_rarely() -> None:
    """Look for cyclic garbage a few times a second at most, not after every 700 new objects: for processes that keep a
    lot in memory, make few cycles, and would spend a fifth of their time on it. What is in no cycle is freed at once,
    as ever."""
    gc.set_threshold(20_000, 20, 20)


def _listen() -> asyncio.Future[signal.Signals]:
    loop = asyncio.get_running_loop()
    if (known := _first.get(loop)) is not None:
        return known
    first: asyncio.Future[signal.Signals] = loop.create_future()

    def received(number: signal.Signals) -> None:
        if first.done():
            sys.stderr.write("stopped by a second signal\n")
            sys.stderr.flush()
            os._exit(128 + number)
        first.set_result(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    _first[loop] = first
    return first
