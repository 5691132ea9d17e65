"""Virtual time: an event loop that never waits, processes that can be killed at any step, and their unequal clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
NEVER = 10.0**9
"""Seconds. An episode that waits so long waits for nothing."""


class Stopped(Exception):
    """The step that was asked for has been reached."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set follows from when it was made, and not from where it lies in memory."""

    def __init__(self, work: Coroutine[Any, Any, Any], loop: VirtualLoop, context: Context | None) -> None:
        self._number = loop.next_number()
        super().__init__(work, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number


class NumberedFuture(asyncio.Future[Any]):
    """The same of a future."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop=loop)
        self._number = loop.next_number()

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order it came, and jumps to the next timer when nothing is. One thread, no sockets."""

    def __init__(self, until: int | None = None) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self._clock_resolution = 1e-9
        self._until = until
        self._numbers = 0
        self.steps = 0
        """Rounds of the loop: everything that was ready at one moment."""
        self.after_step: Callable[[], None] = lambda: None
        self.stuck = False

    def next_number(self) -> int:
        """Of a task or a future."""
        self._numbers += 1
        return self._numbers

    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(self)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """What the base class asks its selector for: here time passes, and nothing comes from outside."""
        self.steps += 1
        self.after_step()
        if self._until is not None and self.steps >= self._until:
            self.stop()
        elif timeout is None:
            self.stuck = True
            self.stop()
        elif timeout > 0:
            scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
            self._now = max(self._now, scheduled[0].when())
        return []

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


_current: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """Whose code runs now."""
    return _current.get()


def make_task(loop: VirtualLoop, work: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
    """A loop's task factory: every task belongs to the process that it was begun in."""
    process = _current.get() if context is None else context.get(_current)
    task = NumberedTask(work, loop, context)
    if process is not None:
        process.began(task)
    return task


class Process:
    """A process of the mesh. Once it is dead, nothing of it reaches anybody: its tasks only unwind."""

    def __init__(self, loop: VirtualLoop, name: str, skew: float = 0.0, rate: float = 1.0) -> None:
        self.name = name
        self.loop = loop
        self.alive = True
        self.began_at = loop.time()
        self.clock = VirtualClock(self, skew, rate)
        self.at_death: list[Callable[[], None]] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.context = copy_context()
        self.context.run(_current.set, self)

    def began(self, task: asyncio.Task[Any]) -> None:
        """A task of this process began."""
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        if not self.alive:
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not self.alive and not task.cancelled():
            task.exception()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as a part of this process."""
        return self.loop.create_task(work, context=self.context.copy())

    def kill(self) -> None:
        """As by SIGKILL."""
        if not self.alive:
            return
        self.alive = False
        for task in list(self._tasks):
            task.cancel()
        for tell in self.at_death:
            tell()

    def unwind(self) -> None:
        """Cancel again what did not end."""
        for task in list(self._tasks):
            task.cancel()

    @property
    def left(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)


class VirtualClock:
    """A process's clock: wrong by a while, and a little too fast or too slow."""

    def __init__(self, process: Process, skew: float, rate: float) -> None:
        self._process = process
        self._skew = skew
        self._rate = rate

    def now(self) -> datetime:
        return START + timedelta(seconds=self._process.loop.time() * self._rate + self._skew)

    def monotonic(self) -> float:
        # Of a machine that was started at another time.
        return (self._process.loop.time() * self._rate) + 1000.0 + abs(self._skew)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        def called() -> None:
            if self._process.alive:
                callback()

        return self._process.loop.call_later(max(0.0, seconds) / self._rate, called)
