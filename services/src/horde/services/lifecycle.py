"""From the first line to the exit status: running until told to stop, and stopping when told twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine

SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def until_signalled() -> signal.Signals:
    """Wait for SIGINT or SIGTERM; from then on a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[signal.Signals] = loop.create_future()

    def received(number: signal.Signals) -> None:
        if first.done():
            sys.stderr.write("stopped by a second signal\n")
            sys.stderr.flush()
            os._exit(128 + number)
        first.set_result(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    return await first


def run(main: Coroutine[object, object, None]) -> int:
    """Run a service to its end and say the exit status: 0 for a clean stop, 130 for an interrupt on the way up."""
    try:
        asyncio.run(main)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0
