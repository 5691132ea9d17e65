"""The process that paints, from both sides of its pipe: `Child` is the agent's end, `serve` the life at the other."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from horde.worker_agent.core.jobs import Cancelled, Capabilities, Failed, FailureReason, InputId, Picture
from horde.worker_agent.core.measuring import Measured
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.pictures import encode_webp
from horde.worker_agent.painters.port import Finished, Work

STOP_SECONDS = 5.0
KILLED = -9
"""The exit status of a process that was ended from outside, as multiprocessing tells it."""
NOBODY = -1
"""The number of no order."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The studio can paint."""

    capabilities: Capabilities
    measured: Measured | None
    problems: dict[str, str]
    others: tuple[str, ...] = ()
    """Devices that are as good as the one that was chosen here."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Other models are in memory, or were tried."""

    capabilities: Capabilities
    problems: dict[str, str] = field(default_factory=dict)
    """Of models that were tried since."""


@dataclass(frozen=True, slots=True)
class Order:
    """One picture."""

    number: int
    picture: Picture
    inputs: dict[InputId, bytes]


@dataclass(frozen=True, slots=True)
class Paint:
    """Pictures that are alike, to be painted in one pass where that goes."""

    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True)
class WantPreview:
    number: int


@dataclass(frozen=True, slots=True)
class Serve:
    """From now on paint with these models, and no others."""

    models: tuple[ModelSource, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    pass


@dataclass(frozen=True, slots=True)
class Stepped:
    number: int
    step: int


@dataclass(frozen=True, slots=True)
class Previewed:
    number: int
    step: int
    image: bytes


@dataclass(frozen=True, slots=True)
class Off:
    """A picture is off the easel: the next can begin."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an order; of nobody's: why the studio does not start."""

    number: int
    work: Work

    @property
    def why(self) -> str:
        return str(getattr(self.work, "detail", self.work))


@dataclass(frozen=True, slots=True)
class Gone:
    """The child has ended."""


class Child:
    """The studio's process, and the thread that listens to it."""

    def __init__(self, settings: StudioSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, settings), daemon=True, name="horde-studio")
        self.process.start()
        # Or its end would never be seen: a copy of it would be open here.
        theirs.close()
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._listener = threading.Thread(target=self._listen, daemon=True, name="horde-studio-pipe")
        self._listener.start()

    def _listen(self) -> None:
        message: Any = None
        while not isinstance(message, Gone):
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                message = Gone()
            try:
                self._loop.call_soon_threadsafe(self.said.put_nowait, message)
            except RuntimeError:
                # The loop is closed: nobody listens any more.
                return

    def send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            # It is gone; `Gone` is on its way.
            pass

    def kill(self) -> None:
        """End it by force; `Gone` follows."""
        self.process.kill()

    async def end(self) -> None:
        """End it: at its next step, or by force after STOP_SECONDS."""
        self.send(Leave())
        await asyncio.to_thread(self.process.join, STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            await asyncio.to_thread(self.process.join)
        # Only now: the listening thread has it until the other end is closed.
        await asyncio.to_thread(self._listener.join, STOP_SECONDS)
        self._pipe.close()
        self.process.close()

    async def how_it_ended(self) -> Failed:
        """Why it is gone; asked before `end`. It may take a while to be gone: its memory is given back first."""
        await asyncio.to_thread(self.process.join, STOP_SECONDS)
        if self.process.exitcode == KILLED:
            return Failed(FailureReason.OUT_OF_MEMORY, "the painting process was killed, most likely for its memory")
        return Failed(FailureReason.PAINTER_DIED, f"the painting process ended with status {self.process.exitcode}")


class _Parent:
    """The agent, as the painting thread of the child sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._cancelled: set[int] = set()
        self._wanted: set[int] = set()
        self._orders: queue.SimpleQueue[Paint | Serve | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                # The agent is gone, perhaps killed: nobody wants what is painted here.
                os._exit(0)
            match message:
                case Paint():
                    self._wanted.clear()
                    self._orders.put(message)
                case Serve():
                    self._orders.put(message)
                case Leave():
                    self._cancelled.add(NOBODY)
                    self._orders.put(None)
                    return
                case Cancel(number):
                    self._cancelled.add(number)
                case WantPreview(number):
                    self._wanted.add(number)

    def next_orders(self, *, wait: bool) -> Paint | Serve | None:
        """What to paint next; None: nothing any more. Raises queue.Empty if there is nothing now and no wait."""
        return self._orders.get(block=wait)

    def say(self, message: object) -> None:
        # The painter and the encoder both speak.
        with self._sending:
            self._pipe.send(message)

    def wants_preview(self, number: int) -> bool:
        # Of several in one pass: what is shown to one is not what another's requester waits for.
        return number in self._wanted

    def previewed(self, number: int) -> None:
        self._wanted.discard(number)

    def cancelled(self, number: int) -> bool:
        return number in self._cancelled or NOBODY in self._cancelled

    def forget(self, number: int) -> None:
        self._cancelled.discard(number)


@dataclass(frozen=True, slots=True)
class _Watch:
    """One order's steps, as the studio tells them."""

    parent: _Parent
    number: int

    def stepped(self, step: int) -> None:
        self.parent.say(Stepped(self.number, step))

    def wants_preview(self) -> bool:
        return self.parent.wants_preview(self.number)

    def previewed(self, step: int, image: bytes) -> None:
        self.parent.previewed(self.number)
        self.parent.say(Previewed(self.number, step, image))

    def cancelled(self) -> bool:
        return self.parent.cancelled(self.number)


def serve(pipe: Connection, settings: StudioSettings) -> None:
    """The child's life."""
    # Ctrl-C is for the agent: it drains, and the picture that is painted here is part of that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = _Parent(pipe)
    studio = Studio(settings)
    try:
        capabilities = studio.load()
    except Exception as error:  # noqa: BLE001 - whatever a model's files make diffusers raise
        parent.say(Ended(NOBODY, Failed(FailureReason.BACKEND, str(error))))
        return
    parent.say(Ready(capabilities, studio.measured, dict(studio.problems), studio.others))
    with ThreadPoolExecutor(1, "encoder") as encoder:
        while True:
            try:
                paint = parent.next_orders(wait=not studio.has_untried)
            except queue.Empty:
                known = set(studio.problems)
                studio.try_next()
                capabilities = studio.capabilities()
                parent.say(Changed(capabilities, _new_problems(studio, known)))
                continue
            if paint is None:
                return
            if isinstance(paint, Serve):
                studio.serve(paint.models)
                capabilities = studio.capabilities()
                parent.say(Changed(capabilities))
                continue
            known = set(studio.problems)
            watches = [_Watch(parent, order.number) for order in paint.orders]

            def left(place: int, step: int, orders: tuple[Order, ...] = paint.orders) -> None:
                parent.say(Ended(orders[place].number, Cancelled(step)))

            for index, work in studio.paint_all(
                [(order.picture, order.inputs) for order in paint.orders], watches, left
            ):
                number = paint.orders[index].number
                parent.forget(number)
                if studio.capabilities() != capabilities:
                    capabilities = studio.capabilities()
                    parent.say(Changed(capabilities, _new_problems(studio, known)))
                if isinstance(work, Painting):
                    encoder.submit(_encode, parent, number, work, settings.quality)
                    parent.say(Off(number))
                else:
                    parent.say(Ended(number, work))


def _new_problems(studio: Studio, known: Collection[str]) -> dict[str, str]:
    return {name: why for name, why in studio.problems.items() if name not in known}


def _encode(parent: _Parent, number: int, painting: Painting, quality: int) -> None:
    """Beside the next picture: the painting thread is in torch, which lets go of the interpreter."""
    work: Work
    try:
        work = Finished(encode_webp(painting.image, quality=quality), painting.deviations, painting.making)
    except Exception as error:  # noqa: BLE001 - or the order would never end
        work = Failed(FailureReason.BACKEND, f"the picture cannot be encoded: {error}")
    parent.say(Ended(number, work))
