"""What a service does beside answering calls, and what happens when it can do it no more.

    async with Loops() as loops, serving(...):
        loops.start("saver", saver.run())
        await until_signalled()

A loop ends only by being cancelled. If one ends otherwise, a line of the log says which and why, and the block around
it is cancelled from within: so `serving`, which stands inside, says NOT_SERVING first and cuts its calls, whatever else
is open is closed, and the process ends with a status that is not 0 (`lifecycle.run`), by force if it must. What a
service does not do any more must not look as if it did.

A loop that goes on though it was cancelled is told again: a library may have taken the exception for its own, as
`asyncio.wait_for` does until Python 3.12 where it comes together with the answer. One that writes something at its end
has `TOLD_AGAIN_SECONDS` for it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from horde.services import lifecycle, telemetry
from horde.services.errors import ServiceError
from horde.services.lifecycle import CannotStart, LoopDied

log = telemetry.get_logger(__name__)

TOLD_AGAIN_SECONDS: Final = lifecycle.STOP_SECONDS / 2
"""After which a loop is cancelled once more; half of what a process has for its end."""
TOLD_AGAIN_TIMES: Final = 3


class Loops:
    """Loops that live as long as the block, and end it if one of them dies: it then raises LoopDied, in a group.

    Enter it before `serving`, and after what the loops need.
    """

    def __init__(self, told_again_seconds: float = TOLD_AGAIN_SECONDS) -> None:
        self._told_again_seconds = told_again_seconds
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._context = contextvars.copy_context()

    async def __aenter__(self) -> Self:
        # What is started from within a call must not inherit its deadline and its caller.
        self._context = contextvars.copy_context()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        for task in tuple(self._running):
            task.cancel()
        telling = asyncio.create_task(self._tell_again(), name="told again", context=self._context)
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            # The block's own error stays what it is, and is not put into a group.
            kind = error = trace = None
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            telling.cancel()

    async def _tell_again(self) -> None:
        for _ in range(TOLD_AGAIN_TIMES):
            await asyncio.sleep(self._told_again_seconds)
            for task in tuple(self._running):
                log.warning("a loop goes on though it was cancelled, and is told again", loop=task.get_name())
                task.cancel()

    def leave(self) -> None:
        """From now on loops may end by themselves: they were told to, or soon will be."""
        self._leaving = True

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a loop until it is cancelled."""
        return self._run(name, loop, ends=False)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a piece of work that nobody waits for: it may end, and is a dead loop only if it raises."""
        return self._run(name, work, ends=True)

    def guarded(self, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        """A callback, of a timer or a future, that is a dead loop if it raises: asyncio would only log that."""

        def called() -> None:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - whatever it is, the service ends with it
                self.fail(name, error)

        return called

    def fail(self, name: str, error: Exception) -> None:
        """End the block: something that belongs to no task has failed, and what it has left is not to be trusted."""

        async def raising() -> None:
            raise error

        if not self._leaving:
            self._run(name, raising(), ends=True)

    def _run(self, name: str, work: Coroutine[Any, Any, None], *, ends: bool) -> asyncio.Task[None]:
        watched = self._watch(name, work, ends)
        try:
            task = self._group.create_task(watched, name=name, context=self._context)
        except RuntimeError:
            # Another loop has died, and this block is on its way out.
            watched.close()
            work.close()
            raise
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            # Of a task that was cancelled before its first step nobody has begun it.
            work.close()

        task.add_done_callback(ended)
        return task

    async def _watch(self, name: str, work: Coroutine[Any, Any, None], ends: bool) -> None:
        try:
            await work
        except Exception as error:
            if isinstance(error, ExceptionGroup) and error.split(LoopDied)[1] is None:
                # Loops of its own, which have said why.
                raise
            self._say(name, error)
            raise LoopDied(name) from error
        if not ends and not self._leaving:
            self._say(name, None)
            raise LoopDied(name)

    def _say(self, name: str, error: Exception | None) -> None:
        # What is raised for people says it all.
        plain = error is None or isinstance(error, (ServiceError, CannotStart))
        why = "it ended by itself" if error is None else str(error) if plain else repr(error)
        trace = None if plain else error
        log.error("a loop has died, and this service ends with it", loop=name, why=why, exc_info=trace)
        lifecycle.must_end()
