"""What happens after each step of a pipeline: it is counted, shown to who watches, and stopped when told to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from horde.worker_agent.core.jobs import Picture
from horde.worker_agent.painters.pictures import encode_preview

PREVIEW_LATENT_SIDE = 32


class Watch(Protocol):
    """Who is told, from the painting thread, how a picture comes along; and who says when to stop."""

    def stepped(self, step: int) -> None: ...
    def wants_preview(self) -> bool: ...
    def previewed(self, step: int, image: bytes) -> None: ...
    def cancelled(self) -> bool: ...


class Stop(Exception):
    """Raised inside a pipeline's callback to leave it at once."""


@dataclass(slots=True)
class Step:
    done: int = 0


def after_step(picture: Picture, watch: Watch, step: Step) -> Any:
    """A callback for diffusers: counts in the picture's steps, whatever the sampler makes of them."""

    def callback(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        # Second-order samplers evaluate twice a step; image to image runs only a part of the steps.
        total = getattr(pipeline, "num_timesteps", 0) or picture.steps
        done = min(picture.steps, (index + 1) * picture.steps // total)
        if watch.cancelled():
            raise Stop
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
