"""What raters say, made into one number for each image, and how well anybody could foretell it. Pure.

A rating is what an image is worth, plus what its rater gives to all, plus chance. The first two are found in turns;
what is left over says how much of the numbers is chance, and which correlation a perfect predictor would reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TURNS: Final = 20
USUAL_LEVELS: Final = 3.0
"""A rater's own level is believed as if this many more ratings said that it is the usual one: of two ratings nobody's
level can be told."""


@dataclass(frozen=True, slots=True)
class Targets:
    """For each image: what it is worth by its raters, and by how many; and the variance of one rating's chance."""

    worth: Floats
    count: Ints
    chance: float


def find_targets(image: Ints, rater: Ints, score: Floats, weight: Floats) -> Targets:
    """The targets of images 0 to n-1, each of which is rated; a rating is one place of all four arrays."""
    images, raters = int(image.max()) + 1, int(rater.max()) + 1
    by_image = np.bincount(image, weight, images)
    by_rater = np.bincount(rater, weight, raters)
    level = np.zeros(raters)
    worth = np.zeros(images)
    for _ in range(TURNS):
        worth = np.bincount(image, weight * (score - level[rater]), images) / by_image
        level = np.bincount(rater, weight * (score - worth[image]), raters) / (by_rater + USUAL_LEVELS)
    left = score - worth[image] - level[rater]
    free = max(1, len(score) - images - raters + 1)
    return Targets(worth, np.bincount(image, minlength=images), float(np.sum(left**2) / free))


def ceiling(targets: Targets, chosen: Ints) -> float:
    """The correlation that a perfect predictor would have with the targets of these images: what is not chance in their
    spread. 0 where all of it may be chance."""
    spread = float(np.var(targets.worth[chosen]))
    if spread == 0:
        return 0.0
    chance = float(np.mean(targets.chance / targets.count[chosen]))
    return float(np.sqrt(max(0.0, 1 - chance / spread)))
