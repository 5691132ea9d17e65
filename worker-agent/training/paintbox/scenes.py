"""Turn a Spec into a picture at any size: the data for the decoder and for every measurement."""

from __future__ import annotations

import functools
import io
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image

from .outlines import fill_outline
from .scenery import draw_place
from .words import COLOURS, Spec

Pixels = npt.NDArray[np.float32]

_ART = Path(__file__).parent / "art"
# White, black and gray hardly vary, or they would be mistaken for each other.
_JITTER = {"white": 4, "black": 5, "gray": 5}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the thing is: centre in fractions of the canvas, size as a fraction of its short side."""

    x: float
    y: float
    size: float


def place_thing(spec: Spec, rng: random.Random) -> Geometry:
    """In the middle of a plain ground, or standing in the lower half of a landscape.

    Positions vary little on purpose: with an hour of one core there is no time to learn that a star may be anywhere.
    """
    if spec.place:
        return Geometry(0.5 + rng.uniform(-0.04, 0.04), 0.63 + rng.uniform(-0.02, 0.02), 0.62 * rng.uniform(0.96, 1.04))
    return Geometry(0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.03, 0.03), 0.72 * rng.uniform(0.93, 1.06))


def draw_colour(name: str, rng: random.Random) -> Pixels:
    """A shade of the named colour, as RGB from 0 to 1."""
    jitter = _JITTER.get(name, 10)
    values = [np.clip(channel + rng.uniform(-jitter, jitter), 0, 255) / 255.0 for channel in COLOURS[name]]
    return np.array(values, dtype=np.float32)


@functools.cache
def load_art(name: str, tint: str) -> Pixels:
    """The object's drawing at 256 pixels as RGBA with colour already multiplied by coverage."""
    svg = (_ART / f"{name}.svg").read_text(encoding="utf-8")
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=256, height=256))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=np.float32) / 255.0
    rgb, alpha = pixels[..., :3], pixels[..., 3:]
    if tint:
        # Keep light and dark, change the colour: dark parts stay dark, the brightest turn towards white.
        light = (rgb @ np.array([0.3, 0.59, 0.11], dtype=np.float32))[..., None]
        middle = float((light * alpha).sum() / alpha.sum())
        colour = np.array(COLOURS[tint], dtype=np.float32) / 255.0
        relative = light / max(middle, 0.05)
        rgb = np.where(
            relative < 1,
            colour * (0.35 + 0.65 * relative),
            colour + (1 - colour) * np.clip((relative - 1) * 0.6, 0, 0.75),
        )
    return np.concatenate([rgb * alpha, alpha], axis=2).astype(np.float32)


def paste_art(name: str, tint: str, width: int, height: int, at: Geometry) -> Pixels:
    """The object on an empty canvas, RGBA multiplied by coverage."""
    side = max(2, round(at.size * min(width, height)))
    art = load_art(name, tint)
    planes = [
        np.asarray(Image.fromarray(art[..., index]).resize((side, side), Image.Resampling.BOX)) for index in range(4)
    ]
    canvas = np.zeros((height, width, 4), dtype=np.float32)
    left, top = round(at.x * width - side / 2), round(at.y * height - side / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    canvas[y0:y1, x0:x1] = np.stack(planes, axis=2)[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas


def draw_scene(spec: Spec, width: int, height: int, rng: random.Random, supersample: int = 3) -> npt.NDArray[np.uint8]:
    """Draw the whole picture."""
    if spec.place:
        picture = draw_place(spec.place, spec.time, width, height, rng, supersample)
    else:
        picture = np.broadcast_to(draw_colour(spec.ground or "white", rng), (height, width, 3))
    if spec.thing:
        at = place_thing(spec, rng)
        if spec.is_shape:
            centre, radius = (at.x * width, at.y * height), at.size * min(width, height) / 2
            mask = fill_outline(spec.thing, width, height, centre, radius, supersample)[..., None]
            picture = picture * (1 - mask) + draw_colour(spec.colour, rng) * mask
        else:
            layer = paste_art(spec.thing, spec.colour, width, height, at)
            picture = picture * (1 - layer[..., 3:]) + layer[..., :3]
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
