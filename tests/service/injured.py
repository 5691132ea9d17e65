"""Runs a service of which one loop breaks when SIGUSR1 comes: `python injured.py MODULE LOOP`.

Each loop that is started writes a line, `LOOP name`: so it can be seen that none is forgotten.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from horde.services.loops import Loops

victim = ""
hurt = asyncio.Event()


class Injected(Exception):
    """The defect."""


async def injured(loop: Coroutine[Any, Any, None]) -> None:
    running = asyncio.ensure_future(loop)
    hurting = asyncio.ensure_future(hurt.wait())
    try:
        await asyncio.wait({running, hurting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        hurting.cancel()
    if hurt.is_set():
        raise Injected
    await running


def main() -> int:
    global victim
    module, victim = sys.argv[1:]
    del sys.argv[1:]
    start, guarded, enter = Loops.start, Loops.guarded, Loops.__aenter__

    async def listening(self: Loops) -> Loops:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hurt.set)
        return await enter(self)

    def started(self: Loops, name: str, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        sys.stderr.write(f"LOOP {name}\n")
        return start(self, name, injured(loop) if name == victim else loop)

    def guarding(self: Loops, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        sys.stderr.write(f"LOOP {name}\n")

        def called() -> None:
            if name == victim and hurt.is_set():
                raise Injected
            callback()

        return guarded(self, name, called)

    Loops.start, Loops.guarded, Loops.__aenter__ = started, guarding, listening  # type: ignore[method-assign, assignment]
    status: int = importlib.import_module(f"{module}.__main__").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
