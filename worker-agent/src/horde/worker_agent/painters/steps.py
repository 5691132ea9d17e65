"""What happens after each step of a pipeline: it is counted, shown to who watches, and stopped when told to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from horde.worker_agent.core.jobs import Picture
from horde.worker_agent.painters.families import parameters
from horde.worker_agent.painters.judging import NoPicture
from horde.worker_agent.painters.pictures import encode_preview

PREVIEW_LATENT_SIDE = 32


class Watch(Protocol):
    """Who is told, from the painting thread, how a picture comes along; and who says when to stop."""

    def stepped(self, step: int) -> None: ...
    def wants_preview(self) -> bool: ...
    def previewed(self, step: int, image: bytes) -> None: ...
    def cancelled(self) -> bool: ...


class Stop(Exception):
    """Raised inside a pipeline to leave it at once."""


@dataclass(slots=True)
class Steps:
    """The steps of one pass, counted in the pictures' own, whatever the sampler makes of them."""

    picture: Picture
    """One of those that are painted; the others are like it."""
    watches: Sequence[Watch]
    """One for each picture, in the order of the pass."""
    left: Callable[[int, int], None] = lambda place, step: None
    """Is told the place of a picture that was cancelled, and after how many steps, while others are painted on."""
    span: tuple[float, float] = field(default=(0.0, 1.0), init=False)
    """Which part of the picture is painted in this pass, where there are several."""
    done: int = field(default=0, init=False)
    own: int = field(default=0, init=False)
    """Steps that the pipeline itself did, of the last time that it was called."""
    gone: set[int] = field(default_factory=set, init=False)
    """Places of pictures that were cancelled."""

    def look_for_cancels(self) -> None:
        """Raise Stop if nobody wants any of the pictures any more."""
        for place, watch in enumerate(self.watches):
            if place not in self.gone and watch.cancelled():
                self.gone.add(place)
                if len(self.watches) > 1:
                    self.left(place, self.done)
        if len(self.gone) == len(self.watches):
            raise Stop

    def follow(self, pipeline: Any) -> dict[str, Any]:
        """Watch a pipeline that is about to be called; what it must be called with for that."""
        if "callback_on_step_end" in parameters(pipeline):
            return {
                "callback_on_step_end": self._called_back,
                "callback_on_step_end_tensor_inputs": ["latents"],
            }
        self._follow_scheduler(pipeline)
        return {}

    def ended(self, pipeline: Any, count: int, total: int, latents: Any) -> None:
        """So many of a pipeline's own steps are done. Raises Stop, NoPicture."""
        # Second-order samplers evaluate twice a step; image to image runs only a part of the steps.
        self.own = count
        begin, end = self.span
        # A hair more, or the last step of several passes would not be whole.
        share = begin + (end - begin) * min(1.0, count / max(1, total)) + 1e-9
        done = min(self.picture.steps, int(share * self.picture.steps))
        self.look_for_cancels()
        if count >= total and latents is not None and not bool(latents.isfinite().all()):
            # Once, at the end: looking makes a GPU wait. What is not a number stays so.
            raise NoPicture("the model computed values that are no numbers")
        further, self.done = done > self.done, max(done, self.done)
        for place, watch in enumerate(self.watches):
            if place in self.gone:
                continue
            if further:
                watch.stepped(done)
            if watch.wants_preview() and (preview := _preview(pipeline, latents, place)) is not None:
                watch.previewed(self.done, preview)

    def _called_back(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        total = getattr(pipeline, "num_timesteps", 0) or self.picture.steps
        self.ended(pipeline, index + 1, total, tensors.get("latents"))
        return tensors

    def _follow_scheduler(self, pipeline: Any) -> None:
        """For a pipeline that calls nobody back: its scheduler, which is this picture's own, is asked for each step."""
        scheduler = pipeline.scheduler
        original = scheduler.step
        count = 0

        @functools.wraps(original)
        def step(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            result = original(*arguments, **named)
            count += 1
            latents = result[0] if isinstance(result, tuple) else result.prev_sample
            self.ended(pipeline, count, len(scheduler.timesteps), latents)
            return result

        scheduler.step = step


def _preview(pipeline: Any, latents: Any, place: int) -> bytes | None:
    """A small glimpse of one picture's latents; None for latents that are not a picture."""
    torch: Any = import_module("torch")
    vae = getattr(pipeline, "vae", None)
    if vae is None or latents is None or latents.dim() != 4:
        return None
    with torch.inference_mode():
        latents = latents[place : place + 1]
        side = max(latents.shape[-2:])
        if side > PREVIEW_LATENT_SIDE:
            latents = torch.nn.functional.interpolate(latents, scale_factor=PREVIEW_LATENT_SIDE / side, mode="area")
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        scale = getattr(vae.config, "scaling_factor", None) or 1.0
        pixels = vae.decode((latents / scale + shift).to(vae.dtype), return_dict=False)[0]
        image = pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
    return encode_preview(image)
