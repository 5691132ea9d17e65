"""Loading a model: its pipeline for text, and the siblings for pictures and masks that share its parts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from horde.worker_agent.painters import tiny_pipeline
from horde.worker_agent.painters.models import ModelSource


@dataclass(slots=True)
class Pipelines:
    """A loaded pipeline, and its siblings that share its parts."""

    source: ModelSource
    text_to_image: Any
    image_to_image: Any
    inpainting: Any
    default_scheduler: Any


def load_pipelines(source: ModelSource, device: str) -> Pipelines:
    """Load a model. Raises whatever diffusers raises for a folder that it cannot load."""
    torch: Any = import_module("torch")
    diffusers: Any = import_module("diffusers")
    if source.stand_in:
        tiny_pipeline.built(Path(source.place))
    # Weights in half precision fail or crawl on a processor.
    dtype = torch.float16 if device == "cuda" else torch.float32
    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
        source.place, dtype=dtype, local_files_only=not source.hub
    )
    pipeline.to(device)
    _complete_encoder(pipeline)
    model = Pipelines(
        source,
        pipeline,
        _sibling(diffusers.AutoPipelineForImage2Image, pipeline),
        _sibling(diffusers.AutoPipelineForInpainting, pipeline),
        pipeline.scheduler,
    )
    for each in (model.text_to_image, model.image_to_image, model.inpainting):
        if each is not None:
            each.set_progress_bar_config(disable=True)
    return model


def parameters(pipeline: Any) -> frozenset[str]:
    return frozenset(inspect.signature(pipeline.__call__).parameters)


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
