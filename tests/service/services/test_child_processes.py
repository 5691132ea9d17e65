"""A child that is killed in the middle of an answer that nobody reads is waited for to its end, and no longer."""

from __future__ import annotations

import asyncio
import sys

from horde.services.child_processes import wait_drained

TALKS_WITHOUT_END = "import os\nwhile True: os.write(1, bytes(1 << 16)); os.write(2, bytes(1 << 16))"


async def test_a_child_is_waited_for_whose_answer_nobody_has_read() -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", TALKS_WITHOUT_END, stdout=pipe, stderr=pipe)
    for source in (child.stdout, child.stderr):
        assert source is not None
        # More than asyncio takes in without being asked, so that it has stopped to read.
        await source.readexactly(1 << 18)
    child.kill()
    assert await wait_drained(child) == -9
