"""Loading a model: its pipeline for text, and the siblings for pictures and masks that share its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from horde.worker_agent.painters import tiny_pipeline
from horde.worker_agent.painters.families import paints_by_mask_alone, size_multiple
from horde.worker_agent.painters.models import BadModel, ModelSource
from horde.worker_agent.painters.weights import variant_of, weights_digest

Guidance = tuple[str, tuple[str, ...]]
"""What is painted from (`text`, `picture`, `mask`), and the names of the nets that guide it."""


@dataclass(slots=True)
class Pipelines:
    """A loaded pipeline, and its siblings that share its parts."""

    source: ModelSource
    precision: str
    """torch's name of the type of its weights."""
    text_to_image: Any
    """Of a model for inpainting alone, its only pipeline: text is painted under a mask over all of the picture."""
    image_to_image: Any
    inpainting: Any
    default_scheduler: Any
    size_multiple: int
    by_mask_alone: bool
    weights_sha256: str = ""
    """In hex; empty: not known."""
    guided: dict[Guidance, Any] = field(default_factory=dict)
    """The pipelines for the ControlNets that were asked for last, and their nets with them."""

    def make_lean(self) -> None:
        """Take less memory from now on, and more time."""
        for pipeline in (self.text_to_image, self.image_to_image, self.inpainting):
            if hasattr(pipeline, "enable_attention_slicing"):
                pipeline.enable_attention_slicing()
        vae = getattr(self.text_to_image, "vae", None)
        for manner in ("enable_slicing", "enable_tiling"):
            if hasattr(vae, manner):
                getattr(vae, manner)()

    @property
    def bytes(self) -> int:
        """What its weights take in memory."""
        pipelines = (self.text_to_image, *self.guided.values())
        parts = {id(part): part for pipeline in pipelines for part in pipeline.components.values()}
        modules = [part for part in parts.values() if hasattr(part, "parameters")]
        return sum(weight.numel() * weight.element_size() for module in modules for weight in module.parameters())


def load_pipelines(source: ModelSource, device: str, precision: str) -> Pipelines:
    """Load a model. Raises BadModel, or whatever diffusers raises for a folder that it cannot load."""
    torch: Any = import_module("torch")
    if source.stand_in:
        tiny_pipeline.built(Path(source.place))
    pipeline = _loaded(source, getattr(torch, precision))
    pipeline.to(device)
    _complete_encoder(pipeline)
    diffusers: Any = import_module("diffusers")
    by_mask_alone = paints_by_mask_alone(pipeline)
    model = Pipelines(
        source,
        precision,
        pipeline,
        pipeline if by_mask_alone else _sibling(diffusers.AutoPipelineForImage2Image, pipeline),
        pipeline if by_mask_alone else _sibling(diffusers.AutoPipelineForInpainting, pipeline),
        pipeline.scheduler,
        size_multiple(pipeline),
        by_mask_alone,
        "" if source.hub or source.stand_in else weights_digest(Path(source.place)),
    )
    for loaded in (model.text_to_image, model.image_to_image, model.inpainting):
        if loaded is not None:
            loaded.set_progress_bar_config(disable=True)
    return model


def _loaded(source: ModelSource, dtype: Any) -> Any:
    """The pipeline of a folder, of a hub id or of one file; from safetensors alone, and without code of its own."""
    diffusers: Any = import_module("diffusers")
    place = Path(source.place)
    if place.is_file():
        return _from_file(place, dtype)
    kind = diffusers.AutoPipelineForText2Image
    manner: dict[str, Any] = {"dtype": dtype, "local_files_only": not source.hub, "use_safetensors": True}
    if not source.hub:
        manner["variant"] = variant_of(place)
        if source.kind.endswith("InpaintPipeline"):
            kind = diffusers.AutoPipelineForInpainting
    return kind.from_pretrained(source.place, **manner)


def _from_file(place: Path, dtype: Any) -> Any:
    """A single file in the layout of the original authors; its kind is told by the names of its tensors."""
    diffusers: Any = import_module("diffusers")
    single: Any = import_module("diffusers.loaders.single_file_utils")
    kind = single.infer_diffusers_model_type(single.load_single_file_checkpoint(str(place)))
    names = {"xl": "StableDiffusionXLPipeline", "sd3": "StableDiffusion3Pipeline", "flux": "FluxPipeline"}
    name = next((pipeline for start, pipeline in names.items() if kind.startswith(start)), "StableDiffusionPipeline")
    if kind.startswith("inpainting"):
        name = "StableDiffusionInpaintPipeline"
    beside = place.with_suffix("")
    # A folder of the same name beside it may hold the configuration; else it is asked of the hub, without weights.
    manner = {"config": str(beside), "local_files_only": True} if (beside / "model_index.json").is_file() else {}
    try:
        return getattr(diffusers, name).from_single_file(str(place), torch_dtype=dtype, **manner)
    except OSError as error:
        why = f"its configuration is neither in {beside} nor to be had from the hub"
        raise BadModel(f"{place} is a model of the kind {kind}, but {why}: {error}") from error


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
