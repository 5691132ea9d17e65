"""Write the model's folder: what is committed, what a worker loads, and the catalogue entry that names its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline

from .judging import assemble

FOLDER = Path(__file__).resolve().parents[2] / "src/horde/worker_agent/models/paintbox"
# Files that describe the model to people; everything else in the folder is what a worker must verify and load.
_FOR_PEOPLE = {"README.md", "NOTICE", "contact-sheet.png", "catalogue.json", "evaluation.json"}


def load_published(folder: Path = FOLDER) -> StableDiffusionPipeline:
    """Load the committed model as any program would, in full precision for the CPU."""
    diffusers.logging.set_verbosity_error()
    pipeline: StableDiffusionPipeline = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def publish(pipeline: StableDiffusionPipeline, revision: str, facts: dict[str, Any], folder: Path = FOLDER) -> None:
    """Save half-precision weights and the catalogue entry; the model card is written by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    half = assemble(pipeline.vae, pipeline.text_encoder, pipeline.tokenizer, pipeline.unet)
    half.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    # `to` works in place and the caller may go on with its pipeline.
    half.to(torch.float32)
    for config in folder.glob("*/config.json"):
        _forget_origin(config)
    for weights in folder.glob("*/*.safetensors"):
        # They are written for their owner alone, but a service may run as another user.
        weights.chmod(0o644)
    refresh_catalogue(revision, facts, folder)


def refresh_catalogue(revision: str, facts: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write catalogue.json from the files that lie in the folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _FOR_PEOPLE]
    entry = {
        "name": "paintbox",
        "version": "1",
        "revision": revision,
        "baseline": "stable_diffusion_1",
        "format": "diffusers",
        "description": "Small flat pictures of shapes, twenty objects and landscapes; comes with the worker agent.",
        "licence": "Apache-2.0, with drawings from Fluent Emoji (MIT, see NOTICE)",
        "nsfw": False,
        **facts,
        "bytes": sum(path.stat().st_size for path in files),
        "files": [
            {
                "path": path.relative_to(folder).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        ],
    }
    (folder / "catalogue.json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def _forget_origin(config: Path) -> None:
    """Drop the folder that a part was loaded from: it names the machine that trained it."""
    values = json.loads(config.read_text(encoding="utf-8"))
    if values.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
