"""What a loaded pipeline can be told, read from the pipeline itself: nothing here knows a model by its name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from inspect import Parameter
from typing import Any


def parameters(pipeline: Any) -> Mapping[str, Parameter]:
    """What it is called with."""
    return inspect.signature(pipeline.__call__).parameters


def size_multiple(pipeline: Any) -> int:
    """Of width and height: what one latent, or one patch of latents, covers; pixels."""
    scale = int(getattr(pipeline, "vae_scale_factor", 8) or 8)
    transformer = getattr(pipeline, "transformer", None)
    patch = int(getattr(getattr(transformer, "config", None), "patch_size", 1) or 1)
    processor = getattr(pipeline, "image_processor", None)
    processed = int(getattr(getattr(processor, "config", None), "vae_scale_factor", 1) or 1)
    return math.lcm(8, scale * patch, processed)


def has_distilled_guidance(pipeline: Any) -> bool:
    """Whether guidance is told to the network as a number, as Flux dev's is, instead of painting twice."""
    transformer = getattr(pipeline, "transformer", None)
    return bool(getattr(getattr(transformer, "config", None), "guidance_embeds", False))


def can_be_skipped(pipeline: Any) -> int:
    """How many layers of the text encoders may be left out at their end; 0: clip skip is not to be had."""
    if "clip_skip" not in parameters(pipeline):
        return 0
    depths = [
        int(encoder.config.num_hidden_layers)
        for suffix in ("", "_2")
        if (encoder := getattr(pipeline, f"text_encoder{suffix}", None)) is not None
        and hasattr(encoder.config, "num_hidden_layers")
    ]
    return max(0, min(depths, default=1) - 1)


def paints_by_mask_alone(pipeline: Any) -> bool:
    """Whether it is a model for inpainting that takes mask and picture as channels of their own."""
    unet = getattr(pipeline, "unet", None)
    return int(getattr(getattr(unet, "config", None), "in_channels", 4)) == 9
