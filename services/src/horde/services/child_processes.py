"""Child processes of asyncio, waited for to their end."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process


async def wait_drained(process: Process) -> int:
    """Wait for the end of a child whose pipes nobody reads any more. Returns its exit status.

    asyncio takes a child for ended only when its pipes are at their end, and reads no further once twice the limit of a
    StreamReader waits: without this, a child that is killed in the middle of a long answer is waited for without end.
    """
    await asyncio.gather(*(pipe.read() for pipe in (process.stdout, process.stderr) if pipe is not None))
    return await process.wait()
