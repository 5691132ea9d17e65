"""Paints with diffusers: any folder, file or hub id that it can load and that passes a first picture here.

A `Studio` blocks while it paints; `process.py` keeps it in a process of its own. torch and diffusers are imported
inside `load` only: they take seconds and hundreds of megabytes that nothing else needs.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from horde.worker_agent.core import measuring
from horde.worker_agent.core.jobs import (
    Cancelled,
    Capabilities,
    Censored,
    Deviation,
    DeviationKind,
    Failed,
    FailureReason,
    Feature,
    InputId,
    ModelOffer,
    NoiseSchedule,
    Picture,
    RefusalReason,
    Refused,
    Sampler,
)
from horde.worker_agent.core.postprocessors import ToolFile
from horde.worker_agent.painters import machine
from horde.worker_agent.painters.arguments import BadInput, CannotPaint
from horde.worker_agent.painters.controls import can_be_guided
from horde.worker_agent.painters.families import can_be_skipped
from horde.worker_agent.painters.finishing import CannotFinish, Finishing
from horde.worker_agent.painters.judging import NoPicture
from horde.worker_agent.painters.loras import Unfit, have_peft
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.one_pass import Painting, paint_pass
from horde.worker_agent.painters.pipelines import Pipelines
from horde.worker_agent.painters.port import CannotLoad
from horde.worker_agent.painters.prompts import can_be_taught
from horde.worker_agent.painters.quiet import hush
from horde.worker_agent.painters.samplers import offered_samplers, offered_schedules
from horde.worker_agent.painters.shelf import Shelf, is_out_of_memory
from horde.worker_agent.painters.steps import Steps, Stop, Watch
from horde.worker_agent.painters.tiling import can_tile

SHARE_FOR_MODELS = 0.8
"""Of the memory that is free, where the owner names no bound."""


@dataclass(frozen=True, slots=True)
class StudioSettings:
    """What a studio is opened with."""

    models: tuple[ModelSource, ...]
    threads: int = 0
    """0: all processors but one."""
    quality: int = 90
    max_pixels: int = 0
    """0: as measured."""
    precision: str = ""
    """Of the weights, `float16`, `bfloat16` or `float32`; empty: as the device likes it."""
    memory_bytes: int = 0
    """The most that models may take; 0: what is free."""
    device: str = ""
    """torch's name of where to paint; empty: the best place there is."""
    batch: int = 0
    """The most like pictures in one pass; 0: as fit, on a card, and one on a processor."""
    post_processors: tuple[ToolFile, ...] = ()


Painted = Painting | Refused | Failed | Censored | Cancelled


class _Unwatched:
    """For the first picture: remembers when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def stepped(self, step: int) -> None:
        self.ends.append(time.perf_counter())

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...

    def cancelled(self) -> bool:
        return False


class Studio:
    """The models of this machine, and the one who paints with them. Not for two threads at once."""

    def __init__(self, settings: StudioSettings, finishing: Finishing | None = None) -> None:
        self._settings = settings
        self._finishing = finishing or Finishing(settings.post_processors)
        self._sources = {source.name: source for source in settings.models}
        self._untried = deque(self._sources)
        self._offers: dict[str, ModelOffer] = {}
        self._unfit: dict[str, set[str]] = {}
        """By model, the LoRAs that turned out not to go with it."""
        self._device = "cpu"
        self._max_pixels: dict[str, int] = {}
        self._fitting: dict[str, int] = {}
        """By model, how many pixels fit into memory at once."""
        self.others: tuple[str, ...] = ()
        """Devices that are as good as the one that was chosen."""
        self.measured: measuring.Measured | None = None
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> dict[str, str]:
        """By model, why it is not offered; models of post-processors too."""
        return self._problems | self._finishing.problems

    def load(self) -> Capabilities:
        """Import torch, and try models until one paints. Raises CannotLoad if none does."""
        hush(offline=not any(source.hub for source in self._sources.values()))
        torch: Any = import_module("torch")
        import_module("diffusers.utils.logging").disable_progress_bar()
        torch.set_num_threads(self._settings.threads or max(1, (os.cpu_count() or 2) - 1))
        self._device = self._settings.device or machine.device()
        self.others = () if self._settings.device else machine.others(self._device)
        precision = self._settings.precision or machine.usual_precision(self._device)
        self._finishing.load(self._device)
        self._shelf = Shelf(self._sources.values(), self._device, precision, self._free_bytes)
        while self._untried and not self._offers:
            self.try_next()
        if self._sources and not self._offers:
            raise CannotLoad("; ".join(f"{name}: {why}" for name, why in self._problems.items()))
        return self.capabilities()

    @property
    def has_untried(self) -> bool:
        """Whether there are models that have not painted their first picture yet."""
        return bool(self._untried)

    def try_next(self) -> None:
        """Paint a first picture with the next model: it is offered from then on, or a problem."""
        name = self._untried.popleft()
        try:
            measured = self._measure(name)
        except Exception as error:  # noqa: BLE001 - whatever a model's files make diffusers raise
            self._problems[name] = f"{type(error).__name__}: {error}"
            self._shelf.discard(name)
            return
        self.measured = self.measured or measured
        limit = self._sources[name].max_pixels
        self._fitting[name] = measuring.fitting_pixels(measured)
        fits = self._settings.max_pixels or measuring.max_pixels(measured)
        self._max_pixels[name] = min(fits, limit) if limit else fits
        self._offers[name] = self._offer(self._shelf.get(name))

    def serve(self, sources: Sequence[ModelSource]) -> None:
        """Paint with these models from now on: what is new is tried before it is offered."""
        fresh = {source.name: source for source in sources}
        kept = {name for name, source in self._sources.items() if fresh.get(name) == source}
        for learnt in (self._offers, self._problems, self._unfit, self._max_pixels, self._fitting):
            for name in learnt.keys() - kept:
                learnt.pop(name)
        self._untried = deque(name for name in fresh if name not in kept or name in self._untried)
        self._sources = fresh
        self._shelf.supply(sources)

    def capabilities(self) -> Capabilities:
        """What can be done now, model by model."""
        finishing = self._finishing.features
        return Capabilities(
            tuple(
                replace(offer, loaded=name in self._shelf, features=offer.features | finishing)
                for name, offer in self._offers.items()
            )
        )

    def paint(self, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch) -> Painted:
        """Paint one picture; every way in which that can go wrong is an answer."""
        if picture.model not in self._offers:
            why = self._problems.get(picture.model, f"there is no model {picture.model} here")
            return Refused(RefusalReason.MODEL_UNAVAILABLE, why)
        if picture.width * picture.height > (most := self._max_pixels[picture.model]):
            return Refused(RefusalReason.OUT_OF_MEMORY, f"at most {most} pixels fit here")
        if why := self._finishing.missing(picture.post_processors):
            return Refused(RefusalReason.MODEL_UNAVAILABLE, why)
        return self._try(picture, inputs, watch)

    def paint_all(
        self,
        jobs: Sequence[tuple[Picture, Mapping[InputId, bytes]]],
        watches: Sequence[Watch],
        left: Callable[[int, int], None] = lambda place, step: None,
    ) -> Iterator[tuple[int, Painted]]:
        """Paint pictures that are alike, as many in one pass as fit; each comes with its place when it has ended.

        `left` is told the place of one that is cancelled while others are painted on, and after how many steps. What a
        pass does not bring to a good end is painted each by itself.
        """
        for begin in range(0, len(jobs), room := self._room(jobs[0][0])):
            places = range(begin, min(begin + room, len(jobs)))
            ended: dict[int, Painted] = {}
            if len(places) > 1:

                def elsewhere(place: int, step: int, begin: int = begin) -> None:
                    left(begin + place, step)

                pictures = [jobs[place][0] for place in places]
                ended = self._try_together(pictures, [watches[place] for place in places], elsewhere)
            for place in places:
                yield place, ended.get(place - begin) or self.paint(*jobs[place], watches[place])

    def _room(self, picture: Picture) -> int:
        """How many like this one fit into a pass."""
        pixels = picture.width * picture.height
        if picture.model not in self._offers or pixels > self._max_pixels[picture.model]:
            return 1
        if self._finishing.missing(picture.post_processors):
            return 1
        return max(1, min(self._batch(), self._fitting[picture.model] // pixels))

    def _batch(self) -> int:
        return self._settings.batch or (1 if self._device == "cpu" else measuring.USUAL_BATCH)

    def _try_together(
        self, pictures: Sequence[Picture], watches: Sequence[Watch], left: Callable[[int, int], None]
    ) -> dict[int, Painted]:
        """One pass; by place, those that ended well in it, or were cancelled."""
        steps = Steps(pictures[0], watches, left)
        try:
            works = self._pass(pictures[0].model, pictures, {}, steps, ())
        except Stop:
            works = []
        except Exception as error:  # noqa: BLE001 - each by itself is told what is wrong with it
            if is_out_of_memory(error):
                self._shelf.sweep()
            works = []
        cancelled: dict[int, Painted] = {place: Cancelled(steps.done) for place in steps.gone}
        return dict(enumerate(works)) | cancelled

    def _try(self, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch) -> Painted:
        """Paint, once more where another way may help: leaner, more precise, without what does not fit."""
        steps = Steps(picture, [watch])
        name = picture.model
        substituted: tuple[Deviation, ...] = ()
        while True:
            try:
                return self._pass(name, [picture], inputs, steps, substituted)[0]
            except Stop:
                return Cancelled(steps.done)
            except BadInput as error:
                return Refused(RefusalReason.INPUT_UNAVAILABLE, str(error))
            except (CannotPaint, CannotFinish) as error:
                return Refused(RefusalReason.MODEL_UNAVAILABLE, str(error))
            except Unfit as error:
                self._unfit.setdefault(name, set()).add(error.name)
                # The attempt may have left half of it in the model.
                self._shelf.discard(name)
            except NoPicture as error:
                if (picture.sampler, picture.schedule) != (Sampler.DEFAULT, NoiseSchedule.DEFAULT):
                    # Some samplers divide by nothing at few steps; that is no fault of the model.
                    asked = f"{picture.sampler.name}, {picture.schedule.name}"
                    done = f"the model's own: with what was asked for, {error}"
                    substituted = (Deviation(DeviationKind.SUBSTITUTED, "sampler", asked, done),)
                    picture = replace(picture, sampler=Sampler.DEFAULT, schedule=NoiseSchedule.DEFAULT)
                elif not self._shelf.widen(name):
                    self._shelf.discard(name)
                    return Failed(FailureReason.BAD_PICTURE, str(error))
            except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the mesh must hear of it
                if not is_out_of_memory(error):
                    self._shelf.discard(name)
                    if picture.controls:
                        return self._without_guidance(name, error)
                    return Failed(FailureReason.BACKEND, f"{type(error).__name__}: {error}")
                if not self._shelf.make_lean(name):
                    return Refused(RefusalReason.OUT_OF_MEMORY, str(error))

    def _without_guidance(self, name: str, error: Exception) -> Refused:
        """A ControlNet does not go with the model, most likely: it is offered without any from now on."""
        if (offer := self._offers.get(name)) is not None:
            self._offers[name] = replace(offer, features=offer.features - {Feature.CONTROL})
        why = f"its ControlNet does not go with it: {type(error).__name__}: {error}"
        return Refused(RefusalReason.MODEL_UNAVAILABLE, why)

    def _pass(
        self,
        name: str,
        pictures: Sequence[Picture],
        inputs: Mapping[InputId, bytes],
        steps: Steps,
        substituted: tuple[Deviation, ...],
    ) -> list[Painting | Censored]:
        unfit = self._unfit.get(name, ())
        works = paint_pass(self._shelf.get(name), pictures, inputs, steps, substituted, unfit, self._device)
        asked = pictures[0].post_processors
        return [
            work if isinstance(work, Censored) else self._finishing.finish(work, asked, steps.look_for_cancels)
            for work in works
        ]

    def _offer(self, model: Pipelines) -> ModelOffer:
        features = {Feature.CLIP_SKIP} if can_be_skipped(model.text_to_image) else set()
        if model.image_to_image is not None:
            features |= {Feature.IMAGE_TO_IMAGE, Feature.RESIZE_MODES}
            if not model.by_mask_alone:
                features.add(Feature.HIRES_FIX)
        if model.inpainting is not None:
            features.add(Feature.INPAINTING)
        if can_tile(model.text_to_image):
            features.add(Feature.TILING)
        if can_be_guided(model):
            features.add(Feature.CONTROL)
        if model.source.loras and have_peft():
            features.add(Feature.LORA)
        if model.source.embeddings and can_be_taught(model.text_to_image):
            features.add(Feature.TEXTUAL_INVERSION)
        return ModelOffer(
            model.source.name,
            loaded=True,
            max_pixels=self._max_pixels[model.source.name],
            features=frozenset(features),
            samplers=offered_samplers(model.default_scheduler),
            schedules=offered_schedules(model.default_scheduler),
            size_multiple=model.size_multiple,
            max_batch=self._batch(),
        )

    def _measure(self, name: str) -> measuring.Measured:
        """Paint the first picture, and look at it. Raises what went wrong."""
        side, count = measuring.BENCHMARK_SIDE, measuring.BENCHMARK_STEPS
        watch = _Unwatched()
        # In memory before the measuring begins. No square, where those are painted at another size than this.
        more = 8 if self._shelf.get(name).source.only_side else 0
        with machine.PeakMemory(self._device) as peak:
            work = self._try(Picture(name, "a red circle", side, side + more, count, seed=1), {}, watch)
        if not isinstance(work, Painting):
            raise CannotLoad(f"its first picture failed: {getattr(work, 'detail', work)}")
        seconds = (watch.ends[-1] - watch.ends[0]) / max(1, len(watch.ends) - 1) if len(watch.ends) > 1 else 1.0
        return measuring.Measured(seconds, peak.bytes, machine.free_bytes(self._device))

    def _free_bytes(self, taken: int) -> int:
        if self._settings.memory_bytes:
            return self._settings.memory_bytes - taken
        return int(machine.free_bytes(self._device) * SHARE_FOR_MODELS)
