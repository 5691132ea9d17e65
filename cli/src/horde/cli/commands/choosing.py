"""Which model: what each can paint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from horde.api.worker.v1.worker_pb2 import Feature

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from horde.api.model.v1.model_service_pb2 import Model
    from horde.clients.client import HordeClient

_ABILITIES: Final = {
    Feature.FEATURE_IMAGE_TO_IMAGE: "from an image",
    Feature.FEATURE_INPAINTING: "with a mask",
    Feature.FEATURE_LORA: "LoRA",
    Feature.FEATURE_CONTROL: "control image",
    Feature.FEATURE_POST_PROCESSING: "post-processing",
    Feature.FEATURE_UPSCALING: "upscaling",
    Feature.FEATURE_HIRES_FIX: "hires fix",
    Feature.FEATURE_TILING: "tiling",
    Feature.FEATURE_TEXTUAL_INVERSION: "embeddings",
    Feature.FEATURE_CLIP_SKIP: "clip skip",
}


async def abilities(horde: HordeClient, models: Sequence[Model]) -> dict[str, str]:
    """By model: what somebody here can paint with it, in words."""
    if all(model.max_pixels or not model.workers for model in models):
        return {model.name: _words(model.max_pixels, model.features) for model in models if model.max_pixels}
    # A mesh that does not sum it up by model yet.
    pixels: dict[str, int] = {}
    features: dict[str, set[Feature.ValueType]] = {}
    async for worker in horde.workers.list():
        for offer in worker.capabilities.models:
            pixels[offer.name] = max(pixels.get(offer.name, 0), offer.image.max_pixels)
            features.setdefault(offer.name, set()).update(offer.image.features)
    return {name: _words(pixels[name], features[name]) for name in pixels}


def _words(max_pixels: int, features: Collection[Feature.ValueType]) -> str:
    size = f"up to {max_pixels / 1e6:.2g} MPx"
    return ", ".join([size, *(words for feature, words in _ABILITIES.items() if feature in features)])
