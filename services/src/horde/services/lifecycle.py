"""From the first line to the exit status: running until told to stop, and ending within a bound, whatever happens."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from horde.services.core_log import core_log
from horde.services.errors import ServiceError
from horde.services.probes import probed

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FAILED = 1
"""The exit status where something in the process has failed; its log says what."""
CANNOT_START = 2
"""The exit status where the operator has to change something first: the same as for bad settings."""
REPLACED = 3
"""The exit status where another process has taken over."""
STOP_SECONDS = 20.0
"""How long a process takes to end once it was told to, or must, unless a service says otherwise. Below the 30 s after
which Kubernetes kills."""
YOUNG = 10_000
"""Objects that are made, over those that went, before the garbage collector looks at them."""


NOT_OURS_TO_WRITE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
)
"""What a file system says of a place where a process may not, or cannot, keep anything."""


class AnotherLeads(Exception):
    """This process led, and another does now."""


class CannotStart(Exception):
    """Something outside of the program is missing or wrong; the message tells the operator what."""


class LoopDied(Exception):
    """A loop of this process has ended that must not (`loops.py`); the cause is the error that ended it, if any."""

    def __init__(self, loop: str) -> None:
        super().__init__(f"the loop {loop!r} has died")


class _Deadline:
    """When the process is ended by force. A thread measures the time: the event loop may be what does not end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """The time runs from the first call on."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._force)
            self._timer.daemon = True
            self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _force(self) -> None:
        sys.stderr.write(f"not over {self._seconds:g} s after it had to end: ended by force\n")
        sys.stderr.flush()
        os._exit(FAILED)


class _Process:
    """How this process is to end."""

    def __init__(self, deadline: _Deadline) -> None:
        self.deadline = deadline
        self.signalled: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        self.awaited = False
        """Somebody waits for the signal, and stops politely when it comes."""
        self.main: asyncio.Task[Any] | None = None

    def received(self, number: signal.Signals) -> None:
        if self.signalled.done():
            sys.stderr.write("stopped by a second signal\n")
            sys.stderr.flush()
            os._exit(128 + number)
        self.signalled.set_result(number)
        self.deadline.begin()
        if self.main is not None and not self.awaited:
            # It does not serve yet: it waits for its turn to lead, or for a database.
            self.main.cancel()


_processes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Process] = WeakKeyDictionary()


async def until_signalled() -> signal.Signals:
    """Wait for SIGINT or SIGTERM; one that came while the service was starting counts."""
    process = _this_process(_Deadline(STOP_SECONDS))
    process.awaited = True
    return await asyncio.shield(process.signalled)


def must_end() -> None:
    """Say that this process is about to end: if it is not over within its time, it is ended by force."""
    if (process := _processes.get(asyncio.get_running_loop())) is not None:
        process.deadline.begin()


def run(
    main: Coroutine[object, object, None],
    *,
    stop_seconds: float = STOP_SECONDS,
    statuses: Mapping[type[Exception], int] = MappingProxyType({}),
    probes: str = "",
) -> int:
    """Run a service to its end and say the exit status.

    The first SIGINT or SIGTERM is for `until_signalled`; a service that does not wait for it yet is still starting, and
    is cancelled. A second one ends the process at once. A process that takes longer than `stop_seconds` to end, after a
    signal or after a loop of it died, is ended by force. `CannotStart`, a `ServiceError`, a place of the file system
    that cannot be written and what `statuses` names are told in one line, without a traceback, and so is a loop that
    died, for its traceback is in the log. At `probes`, HOST:PORT, orchestrators' probes are answered from the first
    moment on.
    """
    # The first that fits: what a service names may be a kind of what stands behind it.
    known: dict[type[Exception], int] = {
        **statuses,
        CannotStart: CANNOT_START,
        AnotherLeads: REPLACED,
        ServiceError: FAILED,
        LoopDied: FAILED,
    }
    deadline = _Deadline(stop_seconds)
    spare_the_collector()
    try:
        with core_log():
            asyncio.run(_supervise(main, deadline, probes))
    except Exception as error:
        ends = [(leaf, _status(leaf, known)) for leaf in _leaves(error)]
        if any(status is None for _, status in ends):
            raise
        for leaf, _ in ends:
            sys.stderr.write(f"{_words(leaf)}\n")
        return max(status or FAILED for _, status in ends)
    finally:
        deadline.cancel()
    return 0


async def _supervise(main: Coroutine[object, object, None], deadline: _Deadline, probes: str) -> None:
    process = _this_process(deadline)
    process.main = asyncio.current_task()
    try:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(probed(probes))
            except RuntimeError:
                main.close()
                raise CannotStart(f"{probes}, for probes, is taken, or not an address of this machine") from None
            await main
    except asyncio.CancelledError:
        if not process.signalled.done():
            raise
        sys.stderr.write("stopped while it was starting\n")


def _status(error: BaseException, known: Mapping[type[Exception], int]) -> int | None:
    """The exit status for an error, by its cause if a loop died of it; None for a defect."""
    for found in (error.__cause__, error) if isinstance(error, LoopDied) else (error,):
        for kind, status in known.items():
            if isinstance(found, kind):
                return status
        if _not_writable(found):
            return CANNOT_START
    return None


def _not_writable(error: BaseException | None) -> bool:
    """Whether it is a place of the file system that is at fault, which the error names."""
    return isinstance(error, OSError) and error.filename is not None and error.errno in NOT_OURS_TO_WRITE


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and _not_writable(error):
        return f"cannot start: {error.filename}, where this process keeps something: {error.strerror}"
    if not isinstance(error, LoopDied):
        return f"cannot start: {error}" if isinstance(error, CannotStart) else f"ended: {error}"
    cause = error.__cause__
    if cause is None or isinstance(cause, (CannotStart, AnotherLeads, ServiceError)):
        return f"ended: {cause or error}"
    return f"ended: {error}: {cause!r}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves: what surrounds them may be groups of task groups."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def give_memory_back() -> None:
    """Hand pages that nothing lies on back to the system: the C library keeps what a flood once needed."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def spare_the_collector() -> None:
    """Look for garbage a tenth as often, and never at what was imported.

    Python looks after every 700 objects, which a server makes for each call; nearly all of them go by themselves. It
    was a tenth of the CPU time of every service.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def _this_process(deadline: _Deadline) -> _Process:
    loop = asyncio.get_running_loop()
    process = _processes.get(loop)
    if process is None:
        process = _processes[loop] = _Process(deadline)
        for number in SIGNALS:
            _on_signal(loop, number, process.received)
    return process


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, received: Callable[[signal.Signals], object]
) -> None:
    """Call this on the loop when the signal comes."""

    def interrupted(got: int, frame: object) -> None:
        loop.call_soon_threadsafe(received, signal.Signals(got))

    try:
        loop.add_signal_handler(number, received, number)
    except NotImplementedError:
        # Windows' event loop knows none. Python calls this one between two steps of the main thread.
        signal.signal(number, interrupted)
