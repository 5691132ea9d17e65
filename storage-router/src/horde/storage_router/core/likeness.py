"""How far two pictures are from each other, by small sketches of them. Pure.

Two machines that are given the same model, seed and prompt paint almost the same picture: here and there a pixel is
another, seldom an edge. So a distance has parts that say different things: coarse frequencies (what is where), which of
two neighbours is brighter (edges), and how much brightness and colours differ. What is far is for others to decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median, pstdev

SIDE = 64
"""Of the sketch of brightness."""
COLOUR_SIDE = 16
"""Of that of each colour channel."""
SKETCH_BYTES = SIDE * SIDE + 2 * COLOUR_SIDE * COLOUR_SIDE
"""Brightness, then blue, then red; one byte a cell, row by row."""
COARSE = 8
"""Frequencies each way that make the structure."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two pictures are from each other; see the contract's `PictureDistance`."""

    structure: int
    edges: int
    luma: int
    chroma: int
    contrast_one: int
    contrast_other: int


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture, small."""

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != SKETCH_BYTES:
            raise ValueError(f"a sketch has {SKETCH_BYTES} bytes, not {len(self.data)}")

    @property
    def luma(self) -> bytes:
        return self.data[: SIDE * SIDE]

    @property
    def chroma(self) -> bytes:
        return self.data[SIDE * SIDE :]

    @property
    def contrast(self) -> int:
        """How much there is to see: 0 is one brightness."""
        return round(1000 * pstdev(self.luma))


def distance(one: Sketch, other: Sketch) -> Distance:
    """How far two pictures are from each other."""
    return Distance(
        structure=(_structure(one.luma) ^ _structure(other.luma)).bit_count(),
        edges=(_edges(one.luma) ^ _edges(other.luma)).bit_count(),
        luma=_difference(one.luma, other.luma),
        chroma=_difference(one.chroma, other.chroma),
        contrast_one=one.contrast,
        contrast_other=other.contrast,
    )


def _difference(one: bytes, other: bytes) -> int:
    return round(1000 * fmean([abs(a - b) for a, b in zip(one, other, strict=True)]))


def _reduced(luma: bytes, side: int) -> list[list[float]]:
    """Means over square cells, `side` each way."""
    cell = SIDE // side
    rows = [
        [sum(luma[row * SIDE + column * cell : row * SIDE + (column + 1) * cell]) for column in range(side)]
        for row in range(SIDE)
    ]
    return [[sum(rows[top * cell + line][column] for line in range(cell)) / cell**2 for column in range(side)]
            for top in range(side)]  # fmt: skip


def _bits(values: Sequence[bool]) -> int:
    return sum(1 << place for place, value in enumerate(values) if value)


@cache
def _waves(side: int) -> list[list[float]]:
    """The lowest cosines over so many cells."""
    return [[math.cos(math.pi * (2 * at + 1) * wave / (2 * side)) for at in range(side)] for wave in range(COARSE)]


def _structure(luma: bytes) -> int:
    """Which of the coarse frequencies are above their median: 64 bits, as in the well-known perceptual hash."""
    side = SIDE // 2
    cells, waves = _reduced(luma, side), _waves(side)
    across = [[sum(a * b for a, b in zip(row, wave, strict=True)) for wave in waves] for row in cells]
    found = [sum(across[at][x] * wave[at] for at in range(side)) for wave in waves for x in range(COARSE)]
    middle = median(found[1:])  # The first is the brightness of all.
    return _bits([value > middle for value in found])


def _edges(luma: bytes) -> int:
    """Which cells are brighter than their right neighbour, the last one's being the first: 256 bits."""
    cells = _reduced(luma, COLOUR_SIDE)
    return _bits([row[at] > row[(at + 1) % COLOUR_SIDE] for row in cells for at in range(COLOUR_SIDE)])
