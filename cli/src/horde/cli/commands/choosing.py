"""Which model: whether it is one of this mesh, what was probably meant, and what each can paint."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from horde.api.worker.v1.worker_pb2 import Feature
from horde.clients.errors import ModelUnknown

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
    Feature.FEATURE_CLIP_SKIP: "clip skip",
}
SIMILAR: Final = 0.6
SEVERAL: Final = 5


async def check_model(horde: HordeClient, name: str) -> None:
    """Refuse a model that nobody here offers or waits for, before anything is held for it. Raises ModelUnknown.

    In a mesh without any model, whatever is named is waited for.
    """
    names = [model.name async for model in horde.models.list()]
    if name in names or not names:
        return
    meant = did_you_mean(name, names)
    there = "" if meant else f" There are: {', '.join(names[:SEVERAL])}."
    raise ModelUnknown(
        f"Nobody here paints with {name}.{there} --wait-for-model waits for it all the same.",
        metadata={"model": name, "did_you_mean": meant or ""},
    )


def did_you_mean(name: str, names: list[str]) -> str | None:
    """The name that is nearest, without regard to case."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=SIMILAR)
    return folded[near[0]] if near else None


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
