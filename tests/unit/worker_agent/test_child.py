"""The studio's process, as the agent holds it."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from typing import Any

from horde.testkit.waiting import HANG_SECONDS, until
from horde.worker_agent.core.jobs import FailureReason
from horde.worker_agent.painters.child import KILLED, Child, Leave, Previewed, WantPreview, _Parent, _Watch


async def test_a_dead_studio_that_is_slow_to_go_does_not_hold_the_agent() -> None:
    """Its memory is given back before it can be joined: seconds, for a large model."""
    gone = threading.Event()

    class Process:
        exitcode = KILLED

        def join(self, timeout: float | None = None) -> None:
            assert gone.wait(HANG_SECONDS)

    child: Any = object.__new__(Child)
    child.process = Process()
    asking = asyncio.create_task(child.how_it_ended())
    # The agent's loop goes on: on the thread that joins, this would never be reached.
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(gone.set)
    assert (await asking).reason is FailureReason.OUT_OF_MEMORY


async def test_of_several_in_one_pass_a_glimpse_is_of_the_one_that_was_asked_for() -> None:
    ours, theirs = multiprocessing.Pipe()
    parent = _Parent(theirs)
    first, second = _Watch(parent, 1), _Watch(parent, 2)
    try:
        ours.send(WantPreview(2))
        await until(second.wants_preview)
        assert not first.wants_preview()
        second.previewed(3, b"jpeg")
        assert ours.recv() == Previewed(2, 3, b"jpeg")
        assert not second.wants_preview()
    finally:
        # Without it a pipe that closes ends the process.
        ours.send(Leave())
