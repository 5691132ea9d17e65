"""Paints with diffusers: any folder or hub id that AutoPipelineForText2Image can load.

A `Studio` blocks while it paints; `painter_process.py` keeps it in a process of its own. torch and diffusers are
imported inside `load` only: they take seconds and hundreds of megabytes that nothing else needs.
"""

from __future__ import annotations

import inspect
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from horde.worker_agent import measuring, tiny_pipeline
from horde.worker_agent.jobs import (
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
from horde.worker_agent.loras import applied, have_peft
from horde.worker_agent.models import ModelSource
from horde.worker_agent.painter import Finished, Work
from horde.worker_agent.pictures import decode_input, encode_preview, encode_webp
from horde.worker_agent.quiet import hush
from horde.worker_agent.samplers import choose_sampler, offered_samplers

RESIDENT_MODELS = 2
"""How many models stay in memory; the one used longest ago goes first."""
DEFAULT_STRENGTH = 0.75
"""The contract's default of `denoising_strength`."""
PREVIEW_LATENT_SIDE = 32


class Watch(Protocol):
    """Who is told, from the painting thread, how a picture comes along; and who says when to stop."""

    def stepped(self, step: int) -> None: ...
    def wants_preview(self) -> bool: ...
    def previewed(self, step: int, image: bytes) -> None: ...
    def cancelled(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class StudioSettings:
    """What a studio is opened with."""

    models: tuple[ModelSource, ...]
    threads: int = 0
    """0: all processors but one."""
    quality: int = 90
    max_pixels: int = 0
    """0: as measured."""


class _Stop(Exception):
    """Raised inside a pipeline's callback to leave it at once."""


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


@dataclass(slots=True)
class _Model:
    """A loaded pipeline, and its siblings that share its parts."""

    source: ModelSource
    text_to_image: Any
    image_to_image: Any
    inpainting: Any
    default_scheduler: Any


class Studio:
    """The models of this machine, and the one who paints with them. Not for two threads at once."""

    def __init__(self, settings: StudioSettings) -> None:
        self._settings = settings
        self._sources = {source.name: source for source in settings.models}
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._device = "cpu"
        self._max_pixels = measuring.LARGEST_PIXELS
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
        model = next(reversed(self._models.values()))
        features = {Feature.CLIP_SKIP} if "clip_skip" in _parameters(model.text_to_image) else set()
        if model.image_to_image is not None:
            features.add(Feature.IMAGE_TO_IMAGE)
        if model.inpainting is not None:
            features.add(Feature.INPAINTING)
        if any(source.loras for source in self._sources.values()) and have_peft():
            features.add(Feature.LORA)
        return Capabilities(
            models=tuple(
                ModelOffer(name, loaded=name in self._models, max_pixels=source.max_pixels)
                for name, source in self._sources.items()
            ),
            max_pixels=self._max_pixels,
            features=frozenset(features),
            samplers=offered_samplers(model.default_scheduler),
        )

    def paint(self, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch) -> Work:
        """Paint one picture; every way in which that can go wrong is an answer."""
        if picture.model not in self._sources:
            return Refused(RefusalReason.MODEL_UNAVAILABLE, f"there is no model {picture.model} here")
        if picture.control_image is not None:
            return Refused(RefusalReason.MODEL_UNAVAILABLE, "this worker cannot be guided by structure")
        if picture.width * picture.height > self._max_pixels:
            return Refused(RefusalReason.OUT_OF_MEMORY, f"at most {self._max_pixels} pixels fit here")
        torch: Any = import_module("torch")
        step = _Step()
        try:
            return self._paint(self._model(picture.model), picture, inputs, watch, step)
        except _Stop:
            return Cancelled(step.done)
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._models.clear()
            if self._device == "cuda":
                torch.cuda.empty_cache()
            return Failed(FailureReason.OUT_OF_MEMORY, str(error))
        except _BadInput as error:
            return Refused(RefusalReason.INPUT_UNAVAILABLE, str(error))
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the mesh must hear of it
            return Failed(FailureReason.BACKEND, f"{type(error).__name__}: {error}")

    def _paint(
        self, model: _Model, picture: Picture, inputs: Mapping[InputId, bytes], watch: Watch, step: _Step
    ) -> Work:
        from PIL import Image

        torch: Any = import_module("torch")
        deviations: list[Deviation] = []
        pipeline, arguments = self._arguments(model, picture, inputs, deviations)
        pipeline.scheduler, said = choose_sampler(model.default_scheduler, picture)
        deviations += said
        if "callback_on_step_end" in _parameters(pipeline):
            arguments["callback_on_step_end"] = _after_step(picture, watch, step)
            arguments["callback_on_step_end_tensor_inputs"] = ["latents"]
        with applied(pipeline, model.source, picture.loras, deviations), torch.inference_mode():
            # On the processor, so that a seed gives the same first noise on every machine.
            generator = torch.Generator("cpu").manual_seed(picture.seed)
            output = pipeline(generator=generator, **arguments)
        if watch.cancelled():
            raise _Stop
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

    def _arguments(
        self, model: _Model, picture: Picture, inputs: Mapping[InputId, bytes], deviations: list[Deviation]
    ) -> tuple[Any, dict[str, Any]]:
        """The pipeline for a picture and what it is called with; what cannot be said to it becomes a deviation."""
        size = (picture.width, picture.height)
        arguments: dict[str, Any] = {"prompt": picture.prompt, "num_inference_steps": picture.steps}
        pipeline = model.text_to_image
        if picture.source_image is not None:
            pipeline = model.image_to_image if picture.mask is None else model.inpainting
            if pipeline is None:
                raise _BadInput("this model cannot start from a picture")
            arguments["image"] = _decoded(inputs, picture.source_image.input_id, "RGB", size)
            if picture.mask is not None:
                arguments["mask_image"] = _decoded(inputs, picture.mask.input_id, "L", size)
            arguments["strength"] = _strength(picture, deviations)
        known = _parameters(pipeline)
        if "width" in known:
            arguments |= {"width": picture.width, "height": picture.height}
        guidance = model.source.guidance_scale if picture.guidance_scale is None else picture.guidance_scale
        if guidance is not None and "guidance_scale" in known:
            arguments["guidance_scale"] = guidance
        elif picture.guidance_scale is not None:
            deviations.append(_omitted("guidance_scale", picture.guidance_scale))
        if picture.negative_prompt:
            if "negative_prompt" in known and (guidance is None or guidance > 1):
                arguments["negative_prompt"] = picture.negative_prompt
            else:
                deviations.append(_omitted("negative_prompt", picture.negative_prompt[:100]))
        if picture.clip_skip:
            self._skip(model, picture, arguments, known, deviations)
        deviations += [_omitted(f"post_processors[{n}]", name) for n, name in enumerate(picture.post_processors)]
        return pipeline, arguments

    def _skip(
        self,
        model: _Model,
        picture: Picture,
        arguments: dict[str, Any],
        known: frozenset[str],
        deviations: list[Deviation],
    ) -> None:
        encoder = getattr(model.text_to_image, "text_encoder", None)
        if "clip_skip" not in known or encoder is None:
            deviations.append(_omitted("clip_skip", picture.clip_skip))
            return
        most = max(0, int(encoder.config.num_hidden_layers) - 1)
        arguments["clip_skip"] = min(picture.clip_skip, most)
        if picture.clip_skip > most:
            deviations.append(Deviation(DeviationKind.CLAMPED, "clip_skip", str(picture.clip_skip), str(most)))

    def _model(self, name: str) -> _Model:
        """A model, loaded if it is not in memory."""
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        while len(self._models) >= RESIDENT_MODELS:
            self._models.popitem(last=False)
        torch: Any = import_module("torch")
        diffusers: Any = import_module("diffusers")
        source = self._sources[name]
        if source.stand_in:
            tiny_pipeline.built(Path(source.place))
        # Weights in half precision fail or crawl on a processor.
        dtype = torch.float16 if self._device == "cuda" else torch.float32
        pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
            source.place, dtype=dtype, local_files_only=not source.hub
        )
        pipeline.to(self._device)
        _complete_encoder(pipeline)
        model = _Model(
            source,
            pipeline,
            _sibling(diffusers.AutoPipelineForImage2Image, pipeline),
            _sibling(diffusers.AutoPipelineForInpainting, pipeline),
            pipeline.scheduler,
        )
        for each in (model.text_to_image, model.image_to_image, model.inpainting):
            if each is not None:
                each.set_progress_bar_config(disable=True)
        self._models[name] = model
        return model

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


@dataclass(slots=True)
class _Step:
    done: int = 0


class _BadInput(Exception):
    """A picture that the job names cannot be used."""


def _after_step(picture: Picture, watch: Watch, step: _Step) -> Any:
    """A callback for diffusers: counts in the picture's steps, whatever the sampler makes of them."""

    def callback(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        # Second-order samplers evaluate twice a step; image to image runs only a part of the steps.
        total = getattr(pipeline, "num_timesteps", 0) or picture.steps
        done = min(picture.steps, (index + 1) * picture.steps // total)
        if watch.cancelled():
            raise _Stop
        if done > step.done:
            step.done = done
            watch.stepped(done)
        if watch.wants_preview() and (preview := _preview(pipeline, tensors.get("latents"))) is not None:
            watch.previewed(step.done, preview)
        return tensors

    return callback


def _preview(pipeline: Any, latents: Any) -> bytes | None:
    """A small glimpse of the latents; None for latents that are not a picture."""
    torch: Any = import_module("torch")
    vae = getattr(pipeline, "vae", None)
    if vae is None or latents is None or latents.dim() != 4:
        return None
    with torch.inference_mode():
        side = max(latents.shape[-2:])
        if side > PREVIEW_LATENT_SIDE:
            latents = torch.nn.functional.interpolate(latents, scale_factor=PREVIEW_LATENT_SIDE / side, mode="area")
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        scale = getattr(vae.config, "scaling_factor", None) or 1.0
        pixels = vae.decode((latents / scale + shift).to(vae.dtype), return_dict=False)[0]
        image = pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
    return encode_preview(image)


def _strength(picture: Picture, deviations: list[Deviation]) -> float:
    asked = DEFAULT_STRENGTH if picture.denoising_strength is None else picture.denoising_strength
    # Below one whole step a pipeline has nothing to do and refuses.
    least = 1 / picture.steps
    if asked < least:
        deviations.append(Deviation(DeviationKind.CLAMPED, "denoising_strength", f"{asked:g}", f"{least:g}"))
        # A hair more, or the product of step count and strength falls below one.
        return min(1.0, least * 1.0001)
    return asked


def _decoded(inputs: Mapping[InputId, bytes], input_id: InputId, mode: str, size: tuple[int, int]) -> Any:
    try:
        return decode_input(inputs[input_id], mode, size)
    except (KeyError, ValueError, OSError) as error:
        raise _BadInput(f"input {input_id} is not a picture that can be used: {error}") from error


def _complete_encoder(pipeline: Any) -> None:
    """Let clip skip find the last norm where diffusers looks for it: transformers 5 has moved it up."""
    encoder = getattr(pipeline, "text_encoder", None)
    if encoder is not None and not hasattr(encoder, "text_model") and hasattr(encoder, "final_layer_norm"):
        # Past the module's own __setattr__, which would make it a part twice over.
        object.__setattr__(encoder, "text_model", SimpleNamespace(final_layer_norm=encoder.final_layer_norm))


def _sibling(kind: Any, pipeline: Any) -> Any:
    try:
        return kind.from_pipe(pipeline)
    except (ValueError, TypeError, AttributeError):
        return None


def _parameters(pipeline: Any) -> frozenset[str]:
    return frozenset(inspect.signature(pipeline.__call__).parameters)


def _omitted(field: str, asked: object) -> Deviation:
    return Deviation(DeviationKind.OMITTED, field, f"{asked:g}" if isinstance(asked, float) else str(asked))
