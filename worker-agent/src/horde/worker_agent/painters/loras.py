"""LoRAs: small additions that lie in a model's folder, under `loras/NAME.safetensors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, Lora
from horde.worker_agent.painters.models import ModelSource


def have_peft() -> bool:
    """Whether the package is here without which diffusers applies no LoRA."""
    return find_spec("peft") is not None


@contextmanager
def applied(
    pipeline: Any, source: ModelSource, wanted: tuple[Lora, ...], deviations: list[Deviation]
) -> Iterator[None]:
    """The pipeline with these additions, for as long as the block; what is not to be had is a deviation."""
    present = []
    for number, lora in enumerate(wanted):
        if lora.name in source.loras and hasattr(pipeline, "load_lora_weights") and have_peft():
            present.append((f"lora{number}", lora))
        else:
            asked = f"{lora.name} at {lora.strength:g}"
            deviations.append(Deviation(DeviationKind.OMITTED, f"loras[{number}]", asked))
    if not present:
        yield
        return
    try:
        for adapter, lora in present:
            pipeline.load_lora_weights(
                source.lora_folder, weight_name=f"{lora.name}.safetensors", adapter_name=adapter, local_files_only=True
            )
        pipeline.set_adapters([adapter for adapter, _ in present], [lora.strength for _, lora in present])
        yield
    finally:
        pipeline.unload_lora_weights()
