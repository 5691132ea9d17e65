"""ControlNets: nets that let the structure of another picture guide the painting.

They lie in a model's folder, under `controlnets/NAME/` in diffusers' layout. What is sent must be the map that a net
reads (edges, depth, a pose): no map is made here.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from horde.worker_agent.core.jobs import Control, Picture
from horde.worker_agent.painters.models import CONTROLS, ModelSource
from horde.worker_agent.painters.pipelines import Pipelines

MAP = "-map"
"""Behind a net's name: the picture is what it reads."""
_KINDS = {
    "text": "AutoPipelineForText2Image",
    "picture": "AutoPipelineForImage2Image",
    "mask": "AutoPipelineForInpainting",
}


class NotGuided(Exception):
    """A picture cannot be guided in this way here; the message says why."""


def can_be_guided(model: Pipelines) -> bool:
    """Whether the model has ControlNets, and diffusers a pipeline for them."""
    family = type(model.text_to_image).__name__.removesuffix("Pipeline").removesuffix("Inpaint")
    name = f"{family}ControlNetPipeline"
    return bool(model.source.controls) and hasattr(import_module("diffusers"), name)


def nets_for(source: ModelSource, controls: tuple[Control, ...]) -> tuple[str, ...]:
    """The names of the nets that read these maps. Raises NotGuided."""
    return tuple(_net_for(source, control) for control in controls)


def _net_for(source: ModelSource, control: Control) -> str:
    here = ", ".join(sorted(source.controls)) or "none"
    if not control.type and len(source.controls) == 1:
        return next(iter(source.controls))
    name = control.type.removesuffix(MAP)
    if name not in source.controls:
        raise NotGuided(
            f"{source.name} has no ControlNet {name or 'that is meant without a type'} here; it has: {here}"
        )
    if name == control.type:
        raise NotGuided(f"no {name} map is made of a picture here: send the map itself, as {name}{MAP}")
    return name


def guided(model: Pipelines, picture: Picture) -> Any:
    """The pipeline that paints this picture with its nets. Raises NotGuided."""
    names = nets_for(model.source, picture.controls)
    start = "text" if picture.source_image is None else "picture" if picture.mask is None else "mask"
    if model.by_mask_alone:
        start = "mask"
    if (start, names) not in model.guided:
        if any(known != names for _, known in model.guided):
            # Each takes as much as half a model: those of the last picture stay, no others.
            model.guided.clear()
        nets = _nets_of(model, names)
        try:
            kind = getattr(import_module("diffusers"), _KINDS[start])
            pipeline = kind.from_pipe(model.text_to_image, controlnet=nets[0] if len(nets) == 1 else nets)
        except (ValueError, TypeError, AttributeError) as error:
            raise NotGuided(f"{model.source.name} cannot be guided where it starts from a {start}: {error}") from error
        pipeline.set_progress_bar_config(disable=True)
        model.guided[start, names] = pipeline
    return model.guided[start, names]


def _nets_of(model: Pipelines, names: tuple[str, ...]) -> list[Any]:
    for pipeline in model.guided.values():
        net = pipeline.controlnet
        return list(net.nets) if hasattr(net, "nets") else [net]
    return [_loaded(model, name) for name in names]


def _loaded(model: Pipelines, name: str) -> Any:
    """A net, from safetensors alone. Raises NotGuided."""
    folder = Path(model.source.place) / CONTROLS / name
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8"))["_class_name"]
        if not kind.endswith("ControlNetModel"):
            raise NotGuided(f"{folder} is a {kind} and no ControlNet")
        torch: Any = import_module("torch")
        net = getattr(import_module("diffusers"), kind).from_pretrained(
            folder, torch_dtype=getattr(torch, model.precision), local_files_only=True, use_safetensors=True
        )
        return net.to(model.text_to_image.device)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise NotGuided(f"the ControlNet {name} does not load: {error}") from error
