"""Paints with diffusers in a process for each device, behind the port of painters: what waits goes to the easel that is
free and has the model, like pictures together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from horde.services.clock import Clock, SystemClock
from horde.services.telemetry import get_logger
from horde.worker_agent.core import easels
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.breaker import Breaker
from horde.worker_agent.core.jobs import Cancelled, Capabilities, Failed, InputId, Picture
from horde.worker_agent.core.measuring import Measured
from horde.worker_agent.painters.child import Child
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.easel import Commission, Easel, lost
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.port import CannotLoad, Drying, Onlooker, Work

log = get_logger(__name__)


class ProcessPainter:
    """All devices of this machine as one painter. A picture is encoded while its easel has the next."""

    def __init__(
        self,
        settings: StudioSettings,
        devices: Mapping[str, frozenset[str]] | None = None,
        clock: Clock | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        make_child: Callable[[StudioSettings], Child] = Child,
    ) -> None:
        """`devices` names where to paint, and with which models alone (none: all); none: every card, or the processor.

        Raises CannotLoad for models that are not there.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._backoff = backoff
        self._make_child = make_child
        self._named = devices or {}
        self._alone: dict[Easel, frozenset[str]] = {}
        """By easel, the models that it paints with alone; none: with all."""
        self._easels = [self._easel(device, names) for device, names in (self._named or {"": frozenset()}).items()]
        self._breakers: dict[str, Breaker] = {}
        self._waiting: list[Commission] = []
        self._unfinished: set[Commission] = set()
        self._numbers = itertools.count()
        self._changed: Callable[[], None] = lambda: None

    def _easel(self, device: str, names: frozenset[str] = frozenset()) -> Easel:
        if unknown := names - {model.name for model in self._settings.models}:
            raise CannotLoad(f"{device} is to paint with {', '.join(sorted(unknown))}, which is not here")
        settings = replace(self._settings, models=self._models_of(names), device=device.partition("#")[0])
        easel = Easel(settings, self, self._clock, self._backoff, self._make_child)
        self._alone[easel] = names
        return easel

    def _models_of(self, names: frozenset[str]) -> tuple[ModelSource, ...]:
        return tuple(model for model in self._settings.models if not names or model.name in names)

    def serve(self, models: Sequence[ModelSource]) -> None:
        kept = {model.name for model in models if model in self._settings.models}
        self._settings = replace(self._settings, models=tuple(models))
        self._breakers = {name: breaker for name, breaker in self._breakers.items() if name in kept}
        for easel in self._easels:
            easel.serve(self._models_of(self._alone[easel]))
        self._changed()

    def on_change(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    @property
    def places(self) -> int:
        return sum(max((model.max_batch for model in easel.capabilities.models), default=1) for easel in self._easels)

    @property
    def measured(self) -> Measured | None:
        """The first picture of the first easel."""
        return self._easels[0].measured

    @property
    def problems(self) -> dict[str, str]:
        """By model, why it is not offered."""
        now = self._clock.monotonic()
        found = {name: why for easel in self._easels for name, why in easel.problems.items()}
        for name, breaker in self._breakers.items():
            if not breaker.offered(now):
                found[name] = f"it failed several times; tried again in {breaker.withdrawn_until - now:.0f} s"
        return found

    def capabilities(self) -> Capabilities:
        now = self._clock.monotonic()
        offered = easels.merged([easel.capabilities for easel in self._easels])
        # An easel that paints hears of what is gone when it is done.
        here = {model.name for model in self._settings.models}
        return Capabilities(
            tuple(
                model
                for model in offered.models
                if model.name in here and (model.name not in self._breakers or self._breakers[model.name].offered(now))
            )
        )

    async def open(self) -> None:
        """Start the first easel and wait until it can paint; the others follow by themselves. Raises CannotLoad."""
        await self._easels[0].open()
        if not self._named:
            self._easels += [self._easel(device) for device in self._easels[0].others]
        for easel in self._easels[1:]:
            easel.live()

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work | Drying:
        if cancelled.is_set():
            return Cancelled(0)
        commission = Commission(next(self._numbers), picture, inputs, onlooker, cancelled)
        self._unfinished.add(commission)
        self._waiting.append(commission)
        self.free()
        stopper = asyncio.create_task(self._stop_when_cancelled(commission))
        try:
            await commission.off.wait()
        except asyncio.CancelledError:
            # Nobody waits for this picture: no easel must go on with it.
            self._drop(commission)
            raise
        finally:
            stopper.cancel()
        return commission.work.result() if commission.work.done() else Drying(commission.work)

    async def close(self) -> None:
        await asyncio.gather(*(easel.close() for easel in self._easels))
        for commission in list(self._unfinished):
            self.ended(commission, lost())
        self._waiting.clear()

    async def _stop_when_cancelled(self, commission: Commission) -> None:
        await commission.cancelled.wait()
        if commission.easel is None:
            self._drop(commission)
        else:
            await commission.easel.stop_for_sure(commission)

    def _drop(self, commission: Commission) -> None:
        if commission.easel is not None:
            commission.easel.stop(commission)
        elif commission in self._waiting:
            self._waiting.remove(commission)
            self.ended(commission, Cancelled(0))

    # What the easels say.

    def free(self) -> None:
        """Give every easel that is free what it can do of what waits."""
        # First whoever has the model of a picture, then whoever would have to load it.
        for at_home in (True, False):
            for easel in self._easels:
                if self._waiting and easel.is_free:
                    self._give(easel, at_home)

    def _give(self, easel: Easel, at_home: bool) -> None:
        elsewhere = [other.capabilities for other in self._easels if other is not easel]
        pictures = [commission.picture for commission in self._waiting]
        places = easels.choose(pictures, easel.capabilities, elsewhere, at_home=at_home)
        if not places and not at_home and not any(easels.choose(pictures, other, []) for other in elsewhere):
            # None can do it: the studio says why.
            places = [0]
        chosen = [self._waiting[number] for number in places]
        for commission in chosen:
            self._waiting.remove(commission)
        if chosen:
            easel.paint(chosen)

    def ended(self, commission: Commission, work: Work) -> None:
        """A picture has ended; what that says of its model."""
        self._unfinished.discard(commission)
        name = commission.picture.model
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
        commission.end(work)

    def offers_changed(self) -> None:
        self._changed()
