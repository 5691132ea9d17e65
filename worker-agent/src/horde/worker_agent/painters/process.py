"""Keeps a blocking studio in a process of its own, behind the port of painters.

The event loop stays alive whatever torch does; a child that is killed for its memory, or that does not stop, costs one
picture and is started again at once. The child ends when this process does, however that ends.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from horde.services.clock import Clock, SystemClock
from horde.services.telemetry import get_logger
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.breaker import Breaker
from horde.worker_agent.core.jobs import Cancelled, Capabilities, Failed, FailureReason, InputId, Picture
from horde.worker_agent.core.measuring import Measured
from horde.worker_agent.painters.child import (
    Cancel,
    Changed,
    Child,
    Ended,
    Gone,
    Off,
    Paint,
    Previewed,
    Ready,
    Stepped,
    WantPreview,
)
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.port import CannotLoad, Drying, Onlooker, Work

log = get_logger(__name__)

STUCK_SECONDS = 120.0
"""How long a step may last after it was told to stop; then the child is killed."""
SLOW_START_SECONDS = 10.0
"""How often a start that takes long says that it goes on."""


@dataclass(slots=True)
class _Order:
    """One picture that the child has been given."""

    picture: Picture
    onlooker: Onlooker
    cancelled: asyncio.Event
    off: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the child can begin another."""
    work: asyncio.Future[Work] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    step: int = 0

    def end(self, work: Work) -> None:
        self.off.set()
        if not self.work.done():
            self.work.set_result(work)


class ProcessPainter:
    """A painter whose studio is another process. Paints one picture at a time, while the one before is encoded."""

    def __init__(
        self, settings: StudioSettings, clock: Clock | None = None, backoff: Callable[[], Backoff] = Backoff
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._backoff = backoff
        self._child: Child | None = None
        self._ready = asyncio.Event()
        self._capabilities = Capabilities()
        self._breakers: dict[str, Breaker] = {}
        self._turn = asyncio.Lock()
        self._orders: dict[int, _Order] = {}
        self._numbers = itertools.count()
        self._life: asyncio.Task[None] | None = None
        self._changed: Callable[[], None] = lambda: None
        self.measured: Measured | None = None

    def on_change(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def capabilities(self) -> Capabilities:
        now = self._clock.monotonic()
        return Capabilities(
            tuple(
                model.now(loaded=model.loaded and self._ready.is_set())
                for model in self._capabilities.models
                if model.name not in self._breakers or self._breakers[model.name].offered(now)
            )
        )

    async def open(self) -> None:
        """Start the studio and wait until it can paint. Raises CannotLoad."""
        child = await self._start()
        self._life = asyncio.create_task(self._live(child))

    async def _start(self) -> Child:
        """A child that can paint. Raises CannotLoad."""
        child = Child(self._settings)
        waiting = asyncio.create_task(self._say_that_it_goes_on())
        try:
            message = await child.said.get()
        except asyncio.CancelledError:
            await child.end()
            raise
        finally:
            waiting.cancel()
        if not isinstance(message, Ready):
            why = message.why if isinstance(message, Ended) else (await child.how_it_ended()).detail
            await child.end()
            raise CannotLoad(why)
        self._child = child
        self._take(message.capabilities, message.problems)
        self.measured = message.measured
        self._ready.set()
        return child

    async def _live(self, child: Child) -> None:
        """Follow the child to its end, and start another, for as long as this painter is open."""
        backoff = self._backoff()
        while True:
            await self._follow(child)
            self._child = None
            self._ready.clear()
            how = await child.how_it_ended()
            for order in list(self._orders.values()):
                self._conclude(order, Cancelled(order.step) if order.cancelled.is_set() else how)
            self._orders.clear()
            await child.end()
            self._changed()
            log.warning("the painting process has ended and is started again", why=how.detail)
            child = await self._start_again(backoff)
            self._changed()

    async def _start_again(self, backoff: Backoff) -> Child:
        while True:
            try:
                child = await self._start()
            except CannotLoad as error:
                seconds = backoff.next()
                log.warning("the painting process does not start", why=str(error), seconds=round(seconds, 1))
                await self._clock.sleep(seconds)
            else:
                # One that lived is no reason to wait when it dies.
                backoff.reset()
                return child

    async def _follow(self, child: Child) -> None:
        while True:
            match await child.said.get():
                case Stepped(number, step):
                    if order := self._orders.get(number):
                        order.step = step
                        order.onlooker.stepped(step)
                        if order.onlooker.wants_preview():
                            child.send(WantPreview(number))
                case Previewed(number, step, image):
                    if order := self._orders.get(number):
                        order.onlooker.previewed(step, image)
                case Off(number):
                    if order := self._orders.get(number):
                        order.off.set()
                case Changed(capabilities, problems):
                    self._take(capabilities, problems)
                    self._changed()
                case Ended(number, work) if number in self._orders:
                    self._conclude(self._orders.pop(number), work)
                case Gone():
                    return

    def _take(self, capabilities: Capabilities, problems: Mapping[str, str]) -> None:
        self._capabilities = capabilities
        for name, why in problems.items():
            log.warning("a model is not offered", model=name, why=why)

    def _conclude(self, order: _Order, work: Work) -> None:
        """An order has ended; what that says of its model."""
        name = order.picture.model
        if isinstance(work, Failed):
            breaker = self._breakers.setdefault(name, Breaker())
            if seconds := breaker.failed(self._clock.monotonic()):
                log.warning(
                    "a model keeps failing and is not offered for a while", model=name, seconds=seconds, why=work.detail
                )
                self._clock.call_later(seconds, self._changed)
                self._changed()
        elif not isinstance(work, Cancelled):
            self._breakers.pop(name, None)
        order.end(work)

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work | Drying:
        async with self._turn:
            if not await self._wait_until_ready(cancelled):
                return Cancelled(0)
            assert self._child is not None
            child, number = self._child, next(self._numbers)
            order = self._orders[number] = _Order(picture, onlooker, cancelled)
            child.send(Paint(number, picture, dict(inputs)))
            stopper = asyncio.create_task(self._stop_when(cancelled, child, number))
            try:
                await order.off.wait()
            except asyncio.CancelledError:
                # Nobody waits for this picture: the child must not go on with it.
                child.send(Cancel(number))
                raise
            finally:
                stopper.cancel()
        return order.work.result() if order.work.done() else Drying(order.work)

    async def _wait_until_ready(self, cancelled: asyncio.Event) -> bool:
        """Whether the child is ready before the picture is cancelled."""
        if not self._ready.is_set() and not cancelled.is_set():
            waits = [asyncio.create_task(self._ready.wait()), asyncio.create_task(cancelled.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return not cancelled.is_set()

    async def _stop_when(self, cancelled: asyncio.Event, child: Child, number: int) -> None:
        await cancelled.wait()
        child.send(Cancel(number))
        await asyncio.sleep(STUCK_SECONDS)
        log.warning("the painting process does not stop and is killed", seconds=STUCK_SECONDS)
        child.kill()

    async def _say_that_it_goes_on(self) -> None:
        """A download or a slow disk is not silence."""
        names = ", ".join(model.name for model in self._settings.models)
        began = self._clock.monotonic()
        while True:
            await self._clock.sleep(SLOW_START_SECONDS)
            log.info("still loading", models=names, seconds=round(self._clock.monotonic() - began))

    async def close(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        if self._child is not None:
            child, self._child = self._child, None
            await child.end()
        for order in self._orders.values():
            order.end(Failed(FailureReason.BACKEND, "the painter was closed"))
        self._orders.clear()
