"""LoRAs: small additions that lie in a model's folder, under `loras/NAME.safetensors`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, Lora
from horde.worker_agent.painters.models import ModelSource


def have_peft() -> bool:
    """Whether the package is here without which diffusers applies no LoRA."""
    return find_spec("peft") is not None


@dataclass
class Unfit(Exception):
    """A LoRA does not go with the model, which may be damaged by the attempt and must be loaded anew."""

    name: str
    why: str


def fitting(
    pipeline: Any, source: ModelSource, wanted: tuple[Lora, ...], unfit: Collection[str], deviations: list[Deviation]
) -> list[Lora]:
    """Those that can be had; each other is a deviation with its reason."""
    present = []
    for number, lora in enumerate(wanted):
        why = ""
        if not hasattr(pipeline, "load_lora_weights") or not have_peft():
            why = "this model takes none here"
        elif lora.foreign or lora.name not in source.loras:
            why = "it is not here"
        elif lora.sha256 and _digest(source, lora) != lora.sha256:
            why = "the file of this name here is another"
        elif lora.name in unfit:
            why = "it is not made for this model"
        if why:
            asked = f"{lora.name} at {lora.strength:g}: {why}"
            deviations.append(Deviation(DeviationKind.OMITTED, f"loras[{number}]", asked))
        else:
            present.append(lora)
    return present


@contextmanager
def applied(pipeline: Any, source: ModelSource, loras: list[Lora]) -> Iterator[None]:
    """The pipeline with these additions, for as long as the block. Raises Unfit for one that does not go with it."""
    if not loras:
        yield
        return
    for number, lora in enumerate(loras):
        try:
            pipeline.load_lora_weights(
                source.lora_folder,
                weight_name=f"{lora.name}.safetensors",
                adapter_name=f"lora{number}",
                local_files_only=True,
            )
            if not _parts(pipeline, number):
                raise Unfit(lora.name, "none of its parts belongs to this model")
        except Unfit:
            raise
        except Exception as error:  # whatever a stranger's file makes of a model
            raise Unfit(lora.name, f"{type(error).__name__}: {error}") from error
    try:
        strengths = [_strengths(pipeline, number, lora) for number, lora in enumerate(loras)]
        pipeline.set_adapters([f"lora{number}" for number in range(len(loras))], strengths)
        yield
    finally:
        pipeline.unload_lora_weights()


def _parts(pipeline: Any, number: int) -> list[str]:
    """The parts of the model that a LoRA changes."""
    return [part for part, names in pipeline.get_list_adapters().items() if f"lora{number}" in names]


def _strengths(pipeline: Any, number: int, lora: Lora) -> float | dict[str, float]:
    """One strength, or one for each part that this LoRA changes."""
    if lora.clip_strength is None or lora.clip_strength == lora.strength:
        return lora.strength
    parts = _parts(pipeline, number)
    return {part: lora.clip_strength if part.startswith("text_encoder") else lora.strength for part in parts}


def _digest(source: ModelSource, lora: Lora) -> bytes:
    with (Path(source.lora_folder) / f"{lora.name}.safetensors").open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
