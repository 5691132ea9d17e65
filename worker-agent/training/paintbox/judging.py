"""Paint prompts and measure what came out."""

from __future__ import annotations

import random

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .parts import build_scheduler
from .scoring import Picture, find_thing, ground_colour, name_colour, name_outline, thing_colour
from .words import Mixture, Spec, draw_spec, write_caption


def assemble(
    vae: AutoencoderTiny, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """A stock pipeline around the parts."""
    diffusers.logging.set_verbosity_error()
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def paint(
    pipeline: StableDiffusionPipeline,
    captions: list[str],
    *,
    seed: int = 0,
    width: int = 128,
    height: int = 128,
    steps: int = 15,
    guidance: float = 3.0,
) -> list[Picture]:
    """Paint each caption with a seed of its own."""
    painted: list[Picture] = []
    for start in range(0, len(captions), 32):
        part = captions[start : start + 32]
        generators = [torch.Generator().manual_seed(seed + start + index) for index in range(len(part))]
        images = pipeline(
            part,
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
        ).images
        painted += [(image * 255 + 0.5).astype(np.uint8) for image in images]
    return painted


def held_out_shapes(count: int, seed: int) -> list[Spec]:
    """Shapes on grounds, each in a colour that training never gave it."""
    rng = random.Random(seed)
    found: list[Spec] = []
    while len(found) < count:
        spec = draw_spec(rng, Mixture(1.0, 0.0, 0.0), held_out=True)
        if spec.is_shape and spec.ground:
            found.append(spec)
    return found


def score_shapes(specs: list[Spec], pictures: list[Picture]) -> dict[str, float]:
    """Share of pictures whose outline, colour and ground are the ones asked for."""
    pairs = list(zip(specs, pictures, strict=True))
    return {
        "outline": float(np.mean([name_outline(picture) == spec.thing for spec, picture in pairs])),
        "colour": float(np.mean([name_colour(thing_colour(picture)) == spec.colour for spec, picture in pairs])),
        "ground": float(np.mean([name_colour(ground_colour(picture)) == spec.ground for spec, picture in pairs])),
        "cover": float(np.mean([find_thing(picture).mean() for _, picture in pairs])),
    }


def quick_score(pipeline: StableDiffusionPipeline, count: int = 64, **settings: float) -> dict[str, float]:
    """The learning curve's measure: few pictures, always the same requests and seeds."""
    specs = held_out_shapes(count, seed=11)
    return score_shapes(
        specs, paint(pipeline, [write_caption(spec, random.Random(0), plain=True) for spec in specs], **settings)
    )  # type: ignore[arg-type]
