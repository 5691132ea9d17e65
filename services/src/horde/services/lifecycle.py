"""From the first line to the exit status: running until told to stop, and stopping when told twice."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from weakref import WeakKeyDictionary

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANNOT_START = 2
"""The exit status where the operator has to change something first: the same as for bad settings."""
YOUNG = 10_000
"""Objects that are made, over those that went, before the garbage collector looks at them."""

_first: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[signal.Signals]] = WeakKeyDictionary()


class CannotStart(Exception):
    """Something outside of the program is missing or wrong; the message tells the operator what."""


async def until_signalled() -> signal.Signals:
    """Wait for SIGINT or SIGTERM; one that came while the service was starting counts."""
    return await asyncio.shield(_listen())


def run(main: Coroutine[object, object, None]) -> int:
    """Run a service to its end and say the exit status.

    The first SIGINT or SIGTERM is for `until_signalled`, from the first moment on; a second one ends the process at
    once. `CannotStart` is told in one line, without a traceback.
    """

    async def listening() -> None:
        _listen()
        await main

    status = 0
    spare_the_collector()
    try:
        asyncio.run(listening())
    except* CannotStart as found:
        # What surrounds it may be groups of task groups.
        for each in _leaves(found):
            sys.stderr.write(f"cannot start: {each}\n")
        status = CANNOT_START
    return status


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def spare_the_collector() -> None:
    """Look for garbage a tenth as often, and never at what was imported.

    Python looks after every 700 objects, which a server makes for each call; nearly all of them go by themselves. It
    was a tenth of the CPU time of every service.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


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

    def interrupted(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(received, signal.Signals(number))

    for number in SIGNALS:
        try:
            loop.add_signal_handler(number, received, number)
        except NotImplementedError:
            # Windows' event loop knows none. Python calls this one between two steps of the main thread.
            signal.signal(number, interrupted)
    _first[loop] = first
    return first
