"""Pictures whose edges fit each other: convolutions that look round the edge, to the other side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def can_tile(pipeline: Any) -> bool:
    """Whether its pictures can: transformers cut them into patches, each of which knows its place."""
    return getattr(pipeline, "unet", None) is not None and getattr(pipeline, "vae", None) is not None


@contextmanager
def tiled(pipeline: Any, *, wanted: bool) -> Iterator[None]:
    """The pipeline, made to paint such a picture for as long as the block if that is wanted."""
    torch: Any = import_module("torch")
    parts = [pipeline.unet, pipeline.vae, getattr(pipeline, "controlnet", None)] if wanted else []
    layers = [
        layer
        for part in parts
        if part is not None
        for layer in part.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.padding_mode == "zeros"
    ]
    for layer in layers:
        layer.padding_mode = "circular"
    try:
        yield
    finally:
        for layer in layers:
            layer.padding_mode = "zeros"
