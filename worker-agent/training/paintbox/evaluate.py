"""The evaluation: held-out combinations; beside every score, what real and coarse renders get from the same judge."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
from diffusers import StableDiffusionPipeline
from PIL import Image

from .course import FACTS
from .judging import held_out_shapes, paint, score_shapes
from .scenes import draw_scene
from .scoring import Picture, coarsen
from .witness import ask, object_spec, scene_spec, train_witness
from .words import Spec, write_caption

_CONTROLS = {"real render": 0, "16x16 pixels": 16, "8x8 pixels": 8, "4x4 pixels": 4}


def evaluate(
    pipeline: StableDiffusionPipeline, count: int, *, steps: int = 15, guidance: float = 3.0
) -> dict[str, Any]:
    """Score the pipeline; every number is a share of 1, `n` says of how many pictures."""
    report: dict[str, Any] = {"n": count, "steps": steps, "guidance": guidance}
    shapes = held_out_shapes(count, seed=2024)
    report["shapes 128"] = {
        "model": score_shapes(shapes, _paint(pipeline, shapes, steps=steps, guidance=guidance)),
        **{name: score_shapes(shapes, pictures) for name, pictures in _controls(shapes).items()},
    }
    few = shapes[: max(8, count // 5)]
    for width, height in ((64, 64), (192, 128), (128, 192), (256, 256)):
        painted = _paint(pipeline, few, steps=steps, guidance=guidance, width=width, height=height)
        report[f"shapes {width}x{height}"] = {"n": len(few), "model": score_shapes(few, painted)}
        if width == height:
            served = _as_served(pipeline, few, width, steps=steps, guidance=guidance)
            report[f"shapes {width}x{height}"]["as a worker paints it"] = score_shapes(few, served)
    largest = shapes[: max(8, count // 12)]
    painted = _paint(pipeline, largest, steps=steps, guidance=guidance, width=512, height=512)
    served = _as_served(pipeline, largest, 512, steps=steps, guidance=guidance)
    report["shapes 512x512"] = {
        "n": len(largest),
        "model": score_shapes(largest, painted),
        "as a worker paints it": score_shapes(largest, served),
    }
    rng = random.Random(77)
    requests = {
        "object": [object_spec(rng, held_out=True) for _ in range(count)],
        "scene": [scene_spec(rng) for _ in range(count)],
    }
    for kind, specs in requests.items():
        witness = train_witness(kind)
        report[kind] = {
            "model": ask(witness, specs, _paint(pipeline, specs, steps=steps, guidance=guidance)),
            **{name: ask(witness, specs, pictures) for name, pictures in _controls(specs).items()},
        }
    started = time.monotonic()
    paint(pipeline, ["a red star on a blue background"], steps=steps, guidance=guidance)
    report["seconds for one 128 px picture"] = round(time.monotonic() - started, 2)
    return report


def _paint(pipeline: StableDiffusionPipeline, specs: list[Spec], **settings: Any) -> list[Picture]:
    rng = random.Random(8)
    return paint(pipeline, [write_caption(spec, rng, plain=True) for spec in specs], seed=500, **settings)


def _as_served(pipeline: StableDiffusionPipeline, specs: list[Spec], side: int, **settings: Any) -> list[Picture]:
    """Squares, painted at the only size that the catalogue names and resized."""
    return [
        np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
        for picture in _paint(pipeline, specs, width=FACTS["sizes"]["only"], height=FACTS["sizes"]["only"], **settings)
    ]


def _controls(specs: list[Spec]) -> dict[str, list[Picture]]:
    rng = random.Random(31)
    renders = [draw_scene(spec, 128, 128, rng) for spec in specs]
    return {
        name: [coarsen(picture, cells) if cells else picture for picture in renders]
        for name, cells in _CONTROLS.items()
    }
