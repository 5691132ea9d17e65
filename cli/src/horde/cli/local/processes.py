"""One process of a mesh: started, heard, stopped. It never outlives the one that started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol

import horde

LineSink = Callable[[str, str], None]
"""Takes the name of a process and a line that it wrote."""

MAX_LINE_BYTES: Final = 64 * 1024
TAIL_LINES: Final = 40
"""What is remembered of a process, to say why it ended."""


class ProcessEnded(Exception):
    """A process of the mesh ended though nobody told it to."""


class Child(Protocol):
    """What a mesh asks of a process: the part of `asyncio.subprocess.Process` that it uses."""

    stdout: asyncio.StreamReader | None

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


StartChild = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Child]]
"""Takes the arguments of Python and the environment."""


async def start_python(arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
    """Start `python ARGUMENTS` with pipes, in a session of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "horde.cli.local.child",
        *arguments,
        env=dict(environment),
        # Held open, never written to: its end is ours (`child.py`).
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=MAX_LINE_BYTES,
        start_new_session=True,
    )


class Process:
    """A child process. Use `start`."""

    start_child: ClassVar[StartChild] = staticmethod(start_python)
    """Tests put another one in its place, which has imported everything before."""

    def __init__(self, name: str, child: Child, sink: LineSink) -> None:
        self.name = name
        self.tail: list[str] = []
        self._child = child
        self._sink = sink
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], sink: LineSink
    ) -> Process:
        """Start `python ARGUMENTS`. Ctrl-C at our terminal does not reach it: whoever started it stops it, in order."""
        child = await cls.start_child(arguments, environment)
        return cls(name, child, sink)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._child.returncode

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end, and for its last words; gives its exit status."""
        status = await self._child.wait()
        # Grandchildren may hold the pipe open; the last words of the process itself are here by then.
        await asyncio.wait([self._reading], timeout=1.0)
        return status

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        await self.ended()

    async def stop(self, grace_seconds: float) -> int:
        """Ask it to stop; end it if it has not after the grace. Gives its exit status."""
        self.tell(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                return await self.ended()
        except TimeoutError:
            await self.kill()
            return await self.ended()
        finally:
            self._reading.cancel()

    async def _read(self) -> None:
        assert self._child.stdout is not None
        while True:
            try:
                raw = await self._child.stdout.readline()
            except ValueError:
                # A line longer than the limit; it is dropped, the next one is read.
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "replace").rstrip()
            self.tail = [*self.tail[-TAIL_LINES:], line]
            self._sink(self.name, line)


def environment() -> dict[str, str]:
    """The environment of this process, in which a child finds the same `horde` as we do, installed or not."""
    roots = [str(Path(folder).parent) for folder in horde.__path__]
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder and folder not in roots]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*roots, *given])}
