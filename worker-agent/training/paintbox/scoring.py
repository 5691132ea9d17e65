"""Measures that need no model: which colours and which outline a picture shows, and renders made coarse as controls."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image

from .outlines import OUTLINES, fill_outline
from .words import COLOURS

Picture = npt.NDArray[np.uint8]
_SIDE = 40


def coarsen(picture: Picture, cells: int) -> Picture:
    """The picture reduced to `cells` by `cells` pixels and enlarged again: the control that a score must beat."""
    height, width = picture.shape[:2]
    small = Image.fromarray(picture).resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def name_colour(rgb: npt.NDArray[np.float64]) -> str:
    """The nearest of the twelve colours."""
    return min(COLOURS, key=lambda name: float(((np.array(COLOURS[name]) - rgb) ** 2).sum()))


def ground_colour(picture: Picture) -> npt.NDArray[np.float64]:
    """The median colour of the border."""
    edge = max(2, picture.shape[0] // 32)
    parts = (picture[:edge], picture[-edge:], picture[:, :edge], picture[:, -edge:])
    middle: npt.NDArray[np.float64] = np.median(np.concatenate([part.reshape(-1, 3) for part in parts]), axis=0)
    return middle


def find_thing(picture: Picture) -> npt.NDArray[np.bool_]:
    """Which pixels differ from the ground: the split of colour distances that separates them best (Otsu's)."""
    distance = np.sqrt(((picture.astype(np.float64) - ground_colour(picture)) ** 2).sum(axis=2))
    counts, edges = np.histogram(distance, bins=64)
    middle = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    mass = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num((mass[-1] * below / total - mass) ** 2 / (below * (total - below)))
    mask: npt.NDArray[np.bool_] = distance > middle[int(np.argmax(spread))]
    return mask


def thing_colour(picture: Picture) -> npt.NDArray[np.float64]:
    """The median colour of what differs from the ground."""
    mask = find_thing(picture)
    if not mask.any():
        return ground_colour(picture)
    middle: npt.NDArray[np.float64] = np.median(picture[mask], axis=0)
    return middle


def name_outline(picture: Picture) -> str:
    """The shape whose outline, brought to the same box, overlaps best with what differs from the ground."""
    mask = _normalise(find_thing(picture))
    if mask is None:
        return ""

    def overlap(name: str) -> float:
        other = _templates()[name]
        return float((mask & other).sum() / max(1, (mask | other).sum()))

    return max(OUTLINES, key=overlap)


@functools.cache
def _templates() -> dict[str, npt.NDArray[np.bool_]]:
    found = {name: _normalise(fill_outline(name, 128, 128, (64, 64), 46) > 0.5) for name in OUTLINES}
    return {name: mask for name, mask in found.items() if mask is not None}


def _normalise(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """Cut to the box around the middle 98 % of the mass (stray pixels must not count), keep the proportions."""
    if mask.sum() < 20:
        return None
    bounds = []
    for axis in (1, 0):
        mass = np.cumsum(mask.sum(axis=axis))
        bounds += [int(np.searchsorted(mass, 0.01 * mass[-1])), int(np.searchsorted(mass, 0.99 * mass[-1])) + 1]
    cut = mask[bounds[0] : bounds[1], bounds[2] : bounds[3]]
    side = max(cut.shape)
    square = np.zeros((side, side), dtype=bool)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    small = Image.fromarray(square.astype(np.uint8) * 255).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small) > 127
