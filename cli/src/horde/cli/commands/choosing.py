"""Which model: whether it is one of this mesh, what was probably meant, and what each can paint."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from horde.api.worker.v1.worker_pb2 import Feature, Worker
from horde.clients.errors import ModelNotFound

if TYPE_CHECKING:
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
    """Refuse a model that nobody here offers or waits for, before anything is held for it. Raises ModelNotFound.

    In a mesh without any model, whatever is named is waited for.
    """
    names = [model.name async for model in horde.models.list()]
    if name in names or not names:
        return
    meant = did_you_mean(name, names)
    guess = f"Did you mean {meant}?" if meant else f"There are: {', '.join(names[:SEVERAL])}."
    raise ModelNotFound(f"Nobody here paints with {name}. {guess} --wait-for-model waits for {name} all the same.")


def did_you_mean(name: str, names: list[str]) -> str | None:
    """The name that is nearest, without regard to case."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=SIMILAR)
    return folded[near[0]] if near else None


async def abilities(horde: HordeClient) -> dict[str, str]:
    """By model: what somebody here can paint with it, in words."""
    workers = [worker async for worker in horde.workers.list()]
    names = sorted({offer.name for worker in workers for offer in worker.capabilities.models})
    return {name: _abilities_text(name, workers) for name in names}


def _abilities_text(model: str, workers: list[Worker]) -> str:
    pixels, features = 0, set()
    for worker in workers:
        for offer in worker.capabilities.models:
            if offer.name == model:
                pixels = max(pixels, offer.image.max_pixels)
                features |= set(offer.image.features)
    size = f"up to {pixels / 1e6:.2g} MPx"
    return ", ".join([size, *(words for feature, words in _ABILITIES.items() if feature in features)])
