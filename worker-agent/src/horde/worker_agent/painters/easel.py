"""One place to paint: the process of one device, from its start over each of its deaths to the end of the agent.

The event loop stays alive whatever torch does; a child that is killed for its memory, or that does not stop, costs the
pictures that are on it and is started again at once. The child ends when this process does, however that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from horde.services.clock import Clock
from horde.services.telemetry import get_logger
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.jobs import Cancelled, Capabilities, Failed, FailureReason, InputId, Picture
from horde.worker_agent.core.measuring import Measured
from horde.worker_agent.painters.child import (
    Cancel,
    Changed,
    Child,
    Ended,
    Gone,
    Off,
    Order,
    Paint,
    Previewed,
    Ready,
    Serve,
    Stepped,
    WantPreview,
)
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.port import CannotLoad, Onlooker, Work

log = get_logger(__name__)

STUCK_SECONDS = 120.0
"""How long a step may last after it was told to stop; then the child is killed."""
SLOW_START_SECONDS = 10.0
"""How often a start that takes long says that it goes on."""


@dataclass(slots=True, eq=False)
class Commission:
    """One picture that somebody waits for."""

    number: int
    picture: Picture
    inputs: Mapping[InputId, bytes]
    onlooker: Onlooker
    cancelled: asyncio.Event
    off: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its easel can begin another."""
    work: asyncio.Future[Work] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    step: int = 0
    easel: Easel | None = None
    """Where it is painted; None: it waits."""

    def end(self, work: Work) -> None:
        self.off.set()
        if not self.work.done():
            self.work.set_result(work)


class Studio(Protocol):
    """Whose easel it is."""

    def free(self) -> None:
        """An easel can begin something."""

    def ended(self, commission: Commission, work: Work) -> None:
        """What became of a picture."""

    def offers_changed(self) -> None:
        """What an easel can do is not what it was."""


class Easel:
    """One child and what is on it."""

    def __init__(
        self,
        settings: StudioSettings,
        studio: Studio,
        clock: Clock,
        backoff: Callable[[], Backoff],
        make_child: Callable[[StudioSettings], Child],
    ) -> None:
        self.settings = settings
        self._make_child = make_child
        self._studio = studio
        self._clock = clock
        self._backoff = backoff
        self._child: Child | None = None
        self._offered = Capabilities()
        self._on_it: dict[int, Commission] = {}
        """What the child has been given and not answered."""
        self._painting: set[int] = set()
        """Those of them that it is not done painting."""
        self._life: asyncio.Task[None] | None = None
        self.measured: Measured | None = None
        self.problems: dict[str, str] = {}
        """By model, why it is not offered."""
        self.others: tuple[str, ...] = ()
        """Further devices of this machine, as the child found them."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; without a child nothing is in memory."""
        alive = self._child is not None
        return Capabilities(tuple(model.now(loaded=model.loaded and alive) for model in self._offered.models))

    @property
    def is_free(self) -> bool:
        """Can begin something."""
        return self._child is not None and not self._painting

    async def open(self) -> None:
        """Start the child and wait until it can paint. Raises CannotLoad."""
        self.live(await self._start())

    def live(self, child: Child | None = None) -> None:
        """Keep a child for as long as this is open; none: start one, as often as it takes."""
        self._life = asyncio.create_task(self._live(child))
        self._life.add_done_callback(self._died)

    def _died(self, life: asyncio.Task[None]) -> None:
        """A defect must not leave a device dark and its pictures waiting for ever."""
        if life.cancelled() or (error := life.exception()) is None:
            return
        log.error("following the painting process broke; it is begun anew", exc_info=error)
        if (child := self._child) is not None:
            self._child = None
            child.kill()
        for number in list(self._on_it):
            self._end(number, lost("the agent has a defect; its log says more"))
        self.live()

    def paint(self, commissions: Sequence[Commission]) -> None:
        """Begin with pictures that are alike."""
        assert self._child is not None
        for commission in commissions:
            commission.easel = self
            self._on_it[commission.number] = commission
            self._painting.add(commission.number)
            commission.onlooker.begun()
        orders = tuple(
            Order(commission.number, commission.picture, dict(commission.inputs)) for commission in commissions
        )
        self._child.send(Paint(orders))

    def serve(self, models: tuple[ModelSource, ...]) -> None:
        """Paint with these models from now on."""
        kept = {model.name for model in models if model in self.settings.models}
        self.problems = {name: why for name, why in self.problems.items() if name in kept}
        self.settings = replace(self.settings, models=models)
        if self._child is not None:
            self._child.send(Serve(models))

    def stop(self, commission: Commission) -> None:
        """Nobody waits for this picture any more."""
        if self._child is not None:
            self._child.send(Cancel(commission.number))

    async def stop_for_sure(self, commission: Commission) -> None:
        """Stop it, if need be with the child."""
        child = self._child
        self.stop(commission)
        await asyncio.sleep(STUCK_SECONDS)
        if child is not None and child is self._child:
            log.warning("the painting process does not stop and is killed", seconds=STUCK_SECONDS)
            child.kill()

    async def close(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        if self._child is not None:
            child, self._child = self._child, None
            await child.end()

    async def _start(self) -> Child:
        """A child that can paint. Raises CannotLoad."""
        settings = self.settings
        child = self._make_child(settings)
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
        self.measured, self.others = message.measured, message.others
        self._take(message.capabilities, message.problems)
        if self.settings.models != settings.models:
            # They changed while it started.
            child.send(Serve(self.settings.models))
        return child

    async def _live(self, child: Child | None) -> None:
        """Follow the child to its end, and start another, for ever."""
        backoff = self._backoff()
        while True:
            if child is None:
                child = await self._start_again(backoff)
                self._studio.offers_changed()
                self._studio.free()
            await self._follow(child)
            self._child = None
            how = await child.how_it_ended()
            for commission in list(self._on_it.values()):
                self._end(commission.number, Cancelled(commission.step) if commission.cancelled.is_set() else how)
            await child.end()
            child = None
            self._studio.offers_changed()
            log.warning("the painting process has ended and is started again", why=how.detail)

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
                    if commission := self._on_it.get(number):
                        commission.step = step
                        commission.onlooker.stepped(step)
                        if commission.onlooker.wants_preview():
                            child.send(WantPreview(number))
                case Previewed(number, step, image):
                    if commission := self._on_it.get(number):
                        commission.onlooker.previewed(step, image)
                case Off(number):
                    if commission := self._on_it.get(number):
                        commission.off.set()
                        self._done_painting(number)
                case Changed(capabilities, problems):
                    self._take(capabilities, problems)
                    self._studio.offers_changed()
                case Ended(number, work):
                    self._end(number, work)
                case Gone():
                    return

    def _end(self, number: int, work: Work) -> None:
        if (commission := self._on_it.pop(number, None)) is not None:
            self._studio.ended(commission, work)
            self._done_painting(number)

    def _done_painting(self, number: int) -> None:
        self._painting.discard(number)
        if self.is_free:
            self._studio.free()

    def _take(self, capabilities: Capabilities, problems: Mapping[str, str]) -> None:
        self._offered = capabilities
        self.problems |= problems
        for name, why in problems.items():
            log.warning("a model is not offered", model=name, why=why)

    async def _say_that_it_goes_on(self) -> None:
        """A download or a slow disk is not silence."""
        names = ", ".join(model.name for model in self.settings.models)
        began = self._clock.monotonic()
        while True:
            await self._clock.sleep(SLOW_START_SECONDS)
            log.info("still loading", models=names, seconds=round(self._clock.monotonic() - began))


def lost(detail: str = "the painter was closed") -> Failed:
    """What becomes of a picture whose painter is gone."""
    return Failed(FailureReason.BACKEND, detail)
