"""Paints with diffusers: any folder or hub id that AutoPipelineForText2Image can load.

A `Studio` blocks while it paints; `painter_process.py` keeps it in a process of its own. torch and diffusers are
imported inside `load` only: they take seconds and hundreds of megabytes that nothing else needs.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
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
    Picture,
    RefusalReason,
    Refused,
)
from horde.worker_agent.painters.arguments import BadInput, arguments_for
from horde.worker_agent.painters.loras import applied, have_peft
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.pictures import encode_webp
from horde.worker_agent.painters.pipelines import Pipelines, load_pipelines, parameters
from horde.worker_agent.painters.port import Finished, Work
from horde.worker_agent.painters.quiet import hush
from horde.worker_agent.painters.samplers import choose_sampler, offered_samplers
from horde.worker_agent.painters.steps import Step, Stop, Watch, after_step

RESIDENT_MODELS = 2
"""How many models stay in memory; the one used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class StudioSettings:
    """What a studio is opened with."""

    models: tuple[ModelSource, ...]
    threads: int = 0
    """0: all processors but one."""
    quality: int = 90
    max_pixels: int = 0
    """0: as measured."""


class _Unwatched:
    """For the benchmark: remembers when each step ended."""

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

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = settings
        self._sources = {source.name: source for source in settings.models}
        self._models: OrderedDict[str, Pipelines] = OrderedDict()
        self._device = "cpu"
        self._max_pixels = measuring.LARGEST_PIXELS
        self._said = Capabilities((), 0)
        self.measured: measuring.Measured | None = None

    def load(self) -> Capabilities:
        """Import torch, load the first model, measure. Raises what diffusers raises for a bad folder."""
        hush(offline=not any(source.hub for source in self._sources.values()))
        torch: Any = import_module("torch")
        import_module("diffusers.utils.logging").disable_progress_bar()
        torch.set_num_threads(self._settings.threads or max(1, (os.cpu_count() or 2) - 1))
        if torch.cuda.is_available():
            self._device = "cuda"
        first = next(iter(self._sources))
        self._model(first)
        self.measured = self._measure(first)
        self._max_pixels = self._settings.max_pixels or measuring.max_pixels(self.measured)
        return self.capabilities()

    def capabilities(self) -> Capabilities:
        """What can be done now; the features are those of the model used last."""
        if not self._models:
            return self._said
        model = next(reversed(self._models.values()))
        features = {Feature.CLIP_SKIP} if "clip_skip" in parameters(model.text_to_image) else set()
        if model.image_to_image is not None:
            features.add(Feature.IMAGE_TO_IMAGE)
        if model.inpainting is not None:
            features.add(Feature.INPAINTING)
        if any(source.loras for source in self._sources.values()) and have_peft():
            features.add(Feature.LORA)
        self._said = Capabilities(
            models=tuple(
                ModelOffer(name, loaded=name in self._models, max_pixels=source.max_pixels)
                for name, source in self._sources.items()
            ),
            max_pixels=self._max_pixels,
            features=frozenset(features),
            samplers=offered_samplers(model.default_scheduler),
        )
        return self._said

    def paint(self, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch) -> Work:
        """Paint one picture; every way in which that can go wrong is an answer."""
        if picture.model not in self._sources:
            return Refused(RefusalReason.MODEL_UNAVAILABLE, f"there is no model {picture.model} here")
        if picture.control_image is not None:
            return Refused(RefusalReason.MODEL_UNAVAILABLE, "this worker cannot be guided by structure")
        if picture.width * picture.height > self._max_pixels:
            return Refused(RefusalReason.OUT_OF_MEMORY, f"at most {self._max_pixels} pixels fit here")
        torch: Any = import_module("torch")
        step = Step()
        try:
            return self._paint(self._model(picture.model), picture, inputs, watch, step)
        except Stop:
            return Cancelled(step.done)
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._models.clear()
            if self._device == "cuda":
                torch.cuda.empty_cache()
            return Failed(FailureReason.OUT_OF_MEMORY, str(error))
        except BadInput as error:
            return Refused(RefusalReason.INPUT_UNAVAILABLE, str(error))
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the mesh must hear of it
            return Failed(FailureReason.BACKEND, f"{type(error).__name__}: {error}")

    def _paint(
        self, model: Pipelines, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch, step: Step
    ) -> Work:
        from PIL import Image

        torch: Any = import_module("torch")
        deviations: list[Deviation] = []
        pipeline, arguments = arguments_for(model, picture, inputs, deviations)
        pipeline.scheduler, said = choose_sampler(model.default_scheduler, picture)
        deviations += said
        if "callback_on_step_end" in parameters(pipeline):
            arguments["callback_on_step_end"] = after_step(picture, watch, step)
            arguments["callback_on_step_end_tensor_inputs"] = ["latents"]
        with applied(pipeline, model.source, picture.loras, deviations), torch.inference_mode():
            # On the processor, so that a seed gives the same first noise on every machine.
            generator = torch.Generator("cpu").manual_seed(picture.seed)
            output = pipeline(generator=generator, **arguments)
        if watch.cancelled():
            raise Stop
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            return Censored("nsfw")
        image = output.images[0]
        if image.size != (picture.width, picture.height):
            made = f"{image.width}x{image.height}, resized"
            deviations.append(Deviation(DeviationKind.SUBSTITUTED, "width", f"{picture.width}x{picture.height}", made))
            image = image.resize((picture.width, picture.height), Image.Resampling.LANCZOS)
        if picture.mask is not None:
            # What was not to be painted anew stays exactly as it was: the VAE would change it.
            image = Image.composite(image, arguments["image"], arguments["mask_image"])
        return Finished(encode_webp(image, quality=self._settings.quality), tuple(deviations))

    def _model(self, name: str) -> Pipelines:
        """A model, loaded if it is not in memory."""
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        while len(self._models) >= RESIDENT_MODELS:
            self._models.popitem(last=False)
        self._models[name] = load_pipelines(self._sources[name], self._device)
        return self._models[name]

    def _measure(self, name: str) -> measuring.Measured:
        """Paint the benchmark's picture once."""
        side, steps = measuring.BENCHMARK_SIDE, measuring.BENCHMARK_STEPS
        before = self._most_memory()
        watch = _Unwatched()
        work = self.paint(Picture(name, "a red circle", side, side, steps, seed=1), {}, watch)
        if not isinstance(work, Finished):
            raise RuntimeError(f"the model {name} cannot paint: {work}")
        seconds = (watch.ends[-1] - watch.ends[0]) / max(1, len(watch.ends) - 1) if len(watch.ends) > 1 else 1.0
        return measuring.Measured(seconds, max(0, self._most_memory() - before), self._free_memory())

    def _most_memory(self) -> int:
        """The most memory that was ever held, in bytes."""
        if self._device == "cuda":
            torch: Any = import_module("torch")
            return int(torch.cuda.max_memory_allocated())
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _free_memory(self) -> int:
        if self._device == "cuda":
            torch: Any = import_module("torch")
            return int(torch.cuda.mem_get_info()[0])
        psutil: Any = import_module("psutil")
        return int(psutil.virtual_memory().available)
