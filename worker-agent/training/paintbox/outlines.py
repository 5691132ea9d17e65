"""The eight shapes, as polygons in a square that runs from -1 to 1 (y grows downwards)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Point = tuple[float, float]
Mask = npt.NDArray[np.float32]

RING_HOLE = 0.56


def _star() -> list[Point]:
    points = []
    for corner in range(10):
        radius = 1.05 if corner % 2 == 0 else 0.46
        angle = math.pi * corner / 5 - math.pi / 2
        points.append((radius * math.cos(angle), 0.07 + radius * math.sin(angle)))
    return points


def _heart() -> list[Point]:
    points = []
    for step in range(72):
        t = 2 * math.pi * step / 72
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16.5, -(y + 2.5) / 15.5))
    return points


def _circle(radius: float = 0.97) -> list[Point]:
    return [(radius * math.cos(math.pi * step / 36), radius * math.sin(math.pi * step / 36)) for step in range(72)]


OUTLINES: dict[str, list[Point]] = {
    "circle": _circle(),
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0.0, -0.92), (1.0, 0.82), (-1.0, 0.82)],
    "star": _star(),
    "heart": _heart(),
    "ring": _circle(),
    "diamond": [(0.0, -1.0), (0.72, 0.0), (0.0, 1.0), (-0.72, 0.0)],
    "cross": [
        (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
        (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3),
    ],
}  # fmt: skip


def fill_outline(shape: str, width: int, height: int, centre: Point, radius: float, supersample: int = 1) -> Mask:
    """How much of each pixel the shape covers; centre and radius are in pixels.

    Pillow's polygons have hard edges, so anything that is shown at its own size needs `supersample` above 1.
    """
    image = Image.new("L", (width * supersample, height * supersample), 0)
    draw = ImageDraw.Draw(image)

    def place(points: list[Point]) -> list[Point]:
        return [
            ((centre[0] + radius * x) * supersample - 0.5, (centre[1] + radius * y) * supersample - 0.5)
            for x, y in points
        ]

    draw.polygon(place(OUTLINES[shape]), fill=255)
    if shape == "ring":
        draw.polygon(place(_circle(RING_HOLE)), fill=0)
    if supersample > 1:
        image = image.reduce(supersample)
    return np.asarray(image, dtype=np.float32) / 255.0
