"""Previews are redrawn before anybody sees them, in a bounded child process: what is no picture is dropped.

Nobody waits for it, and no more than a few wait for the child: previews are the first to be dropped under load.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from horde.gateway import preview_child
from horde.gateway.core.previews import Previews
from horde.services.child_processes import wait_drained
from horde.services.clock import Clock
from horde.services.streams import Outbox
from horde.services.telemetry import get_logger

log = get_logger(__name__)

MAX_WAITING = 64
"""Previews that wait for the child; further ones are dropped."""
PATIENCE_SECONDS = 5.0
"""How long one may take by the clock; then the child is replaced."""
MAX_REDRAWN = 5_000
"""After which a child is replaced, so that nothing builds up in it."""
ADMITTED = tuple[str, int, bytes]


class Redrawing:
    """Takes workers' previews, and shows what is left of them."""

    def __init__(self, previews: Previews, clock: Clock) -> None:
        self._previews = previews
        self._clock = clock
        self._waiting: Outbox[ADMITTED] = Outbox(MAX_WAITING)
        self.started = 0
        """How many children there have been."""
        self.dropped = 0
        """Previews that were no pictures, or too many."""

    def show(self, worker: str, lease_id: str, step: int, image: bytes) -> None:
        """Have a preview shown, if it is one and somebody watches."""
        if not self._previews.admit(worker, lease_id, image):
            return
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.put_nowait((lease_id, step, image))

    async def run(self) -> None:
        """Redraw what comes. Runs until cancelled."""
        while True:
            batch = await self._waiting.drain(1)
            await self._serve(batch)

    async def _serve(self, batch: list[ADMITTED]) -> None:
        """One child's life, from the first preview on."""
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(Path(preview_child.__file__)), stdin=PIPE, stdout=PIPE, env={}
            )
        except OSError as error:
            log.warning("the child that redraws previews does not start", error=str(error))
            await self._clock.sleep(1.0)
            return
        self.started += 1
        try:
            for _ in range(MAX_REDRAWN):
                for lease_id, step, image in batch:
                    # The child bounds its processor time; this is for a machine that is stuck.
                    # Not wait_for, which until Python 3.12 swallows a cancellation that comes as the answer does.
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        picture = await _ask(child, image)
                    if picture:
                        self._previews.pass_on(lease_id, step, picture)
                    else:
                        self.dropped += 1
                batch = await self._waiting.drain(1)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.dropped += 1
            log.info("the child that redraws previews is replaced", pid=child.pid)
        finally:
            if child.returncode is None:
                child.kill()
            await wait_drained(child)


async def _ask(child: Process, image: bytes) -> bytes:
    sink, source = child.stdin, child.stdout
    assert sink is not None
    assert source is not None
    sink.write(preview_child.LENGTH.pack(len(image)) + image)
    await sink.drain()
    (length,) = preview_child.LENGTH.unpack(await source.readexactly(preview_child.LENGTH.size))
    return await source.readexactly(min(length, preview_child.MAX_OUT_BYTES))
