"""Keeps a blocking studio in a process of its own, behind the port of painters.

The event loop stays alive whatever torch does; a child that is killed for its memory, or that does not stop, costs one
picture and a restart, not the agent. The child ends when this process does, however that ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from horde.services.telemetry import get_logger
from horde.worker_agent.core.jobs import Cancelled, Capabilities, Failed, FailureReason, InputId, Picture
from horde.worker_agent.core.measuring import Measured
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.port import CannotLoad, Onlooker, Work

log = get_logger(__name__)

STUCK_SECONDS = 120.0
"""How long a step may last after it was told to stop; then the child is killed."""
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Ready:
    capabilities: Capabilities
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class _Changed:
    """Another model is in memory now."""

    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class _CannotLoad:
    why: str


@dataclass(frozen=True, slots=True)
class _Paint:
    picture: Picture
    inputs: dict[InputId, bytes]


@dataclass(frozen=True, slots=True)
class _Cancel:
    pass


@dataclass(frozen=True, slots=True)
class _WantPreview:
    pass


@dataclass(frozen=True, slots=True)
class _Leave:
    pass


@dataclass(frozen=True, slots=True)
class _Stepped:
    step: int


@dataclass(frozen=True, slots=True)
class _Previewed:
    step: int
    image: bytes


@dataclass(frozen=True, slots=True)
class _Gone:
    """The child has ended."""


class _Child:
    """The studio's process, and the thread that listens to it."""

    def __init__(self, settings: StudioSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, settings), daemon=True, name="horde-studio")
        self.process.start()
        # Or its end would never be seen: a copy of it would be open here.
        theirs.close()
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._listener = threading.Thread(target=self._listen, daemon=True, name="horde-studio-pipe")
        self._listener.start()

    def _listen(self) -> None:
        message: Any = None
        while not isinstance(message, _Gone):
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                message = _Gone()
            try:
                self._loop.call_soon_threadsafe(self.said.put_nowait, message)
            except RuntimeError:
                # The loop is closed: nobody listens any more.
                return

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except OSError:
            # It is gone; `_Gone` is on its way.
            pass

    async def end(self) -> None:
        """End it: at its next step, or by force after STOP_SECONDS."""
        self.send(_Leave())
        await asyncio.to_thread(self.process.join, STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            await asyncio.to_thread(self.process.join)
        # Only now: the listening thread has it until the other end is closed.
        await asyncio.to_thread(self._listener.join, STOP_SECONDS)
        self.pipe.close()
        self.process.close()

    async def how_it_ended(self) -> Failed:
        """Why it is gone; asked before `end`. It may take a while to be gone: its memory is given back first."""
        await asyncio.to_thread(self.process.join, STOP_SECONDS)
        if self.process.exitcode == -signal.SIGKILL:
            return Failed(FailureReason.OUT_OF_MEMORY, "the painting process was killed, most likely for its memory")
        return Failed(FailureReason.BACKEND, f"the painting process ended with status {self.process.exitcode}")


class ProcessPainter:
    """A painter whose studio is another process. Paints one picture at a time."""

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = settings
        self._child: _Child | None = None
        self._capabilities = Capabilities((), 0)
        self._turn = asyncio.Lock()
        self.measured: Measured | None = None

    async def open(self) -> None:
        """Start the studio and wait until it can paint. Raises CannotLoad."""
        child = _Child(self._settings)
        try:
            message = await child.said.get()
        except asyncio.CancelledError:
            await child.end()
            raise
        if not isinstance(message, _Ready):
            why = message.why if isinstance(message, _CannotLoad) else (await child.how_it_ended()).detail
            await child.end()
            raise CannotLoad(why)
        self._child = child
        self._capabilities = message.capabilities
        self.measured = message.measured

    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work:
        async with self._turn:
            if cancelled.is_set():
                return Cancelled(0)
            if self._child is None:
                log.info("starting the painting process again")
                try:
                    await self.open()
                except CannotLoad as error:
                    return Failed(FailureReason.BACKEND, str(error))
            assert self._child is not None
            child = self._child
            child.send(_Paint(picture, dict(inputs)))
            stopper = asyncio.create_task(self._stop_when(cancelled, child))
            try:
                return await self._follow(child, onlooker, cancelled)
            except asyncio.CancelledError:
                # Nobody waits for this picture: the child must not go on with it.
                self._child = None
                await child.end()
                raise
            finally:
                stopper.cancel()

    async def _follow(self, child: _Child, onlooker: Onlooker, cancelled: asyncio.Event) -> Work:
        step = 0
        while True:
            match await child.said.get():
                case _Stepped(step):
                    onlooker.stepped(step)
                    if onlooker.wants_preview():
                        child.send(_WantPreview())
                case _Previewed(at, image):
                    onlooker.previewed(at, image)
                case _Changed(capabilities):
                    self._capabilities = capabilities
                case _Gone():
                    self._child = None
                    how = Cancelled(step) if cancelled.is_set() else await child.how_it_ended()
                    await child.end()
                    return how
                case work:
                    result: Work = work
                    return result

    async def _stop_when(self, cancelled: asyncio.Event, child: _Child) -> None:
        await cancelled.wait()
        child.send(_Cancel())
        await asyncio.sleep(STUCK_SECONDS)
        log.warning("the painting process does not stop and is killed", seconds=STUCK_SECONDS)
        child.process.kill()

    async def close(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            await child.end()


class _Parent:
    """The agent, as the painting thread of the child sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._cancelled = threading.Event()
        self._wanted = threading.Event()
        self._orders: queue.SimpleQueue[_Paint | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                # The agent is gone, perhaps killed: nobody wants what is painted here.
                os._exit(0)
            match message:
                case _Paint():
                    self._cancelled.clear()
                    self._wanted.clear()
                    self._orders.put(message)
                case _Leave():
                    self._cancelled.set()
                    self._orders.put(None)
                    return
                case _Cancel():
                    self._cancelled.set()
                case _WantPreview():
                    self._wanted.set()

    def next_order(self) -> _Paint | None:
        """What to paint next; None: nothing any more."""
        return self._orders.get()

    def say(self, message: object) -> None:
        self._pipe.send(message)

    def stepped(self, step: int) -> None:
        self.say(_Stepped(step))

    def wants_preview(self) -> bool:
        return self._wanted.is_set()

    def previewed(self, step: int, image: bytes) -> None:
        self._wanted.clear()
        self.say(_Previewed(step, image))

    def cancelled(self) -> bool:
        return self._cancelled.is_set()


def _serve(pipe: Connection, settings: StudioSettings) -> None:
    """The child's life."""
    # Ctrl-C is for the agent: it drains, and the picture that is painted here is part of that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = _Parent(pipe)
    studio = Studio(settings)
    try:
        capabilities = studio.load()
    except Exception as error:  # noqa: BLE001 - whatever a model's files make diffusers raise
        parent.say(_CannotLoad(f"{type(error).__name__}: {error}"))
        return
    parent.say(_Ready(capabilities, studio.measured))
    while (order := parent.next_order()) is not None:
        work = studio.paint(order.picture, order.inputs, parent)
        if studio.capabilities() != capabilities:
            capabilities = studio.capabilities()
            parent.say(_Changed(capabilities))
        parent.say(work)
