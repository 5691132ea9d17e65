"""A linear predictor with a penalty, and how well it does. Pure: the same numbers give the same predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from horde.data_releases.core.targets import Floats, Ints

PENALTIES: Final = tuple(10.0**power for power in np.arange(-2, 5.5, 0.5))
FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Linear:
    """Foretells by `(features - mean) / scale @ slope + level`."""

    mean: Floats
    scale: Floats
    slope: Floats
    level: float
    penalty: float

    def predict(self, features: Floats) -> Floats:
        """One number for each row."""
        return np.asarray((features - self.mean) / self.scale @ self.slope + self.level, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well foretold numbers go with the true ones."""

    pearson: float
    spearman: float
    error: float
    """Root of the mean square."""


def fit(features: Floats, worth: Floats, weight: Floats, group: Ints) -> Linear:
    """The predictor with the penalty that does best on groups that it has not seen, each in one of five folds."""
    folds = group % FOLDS
    errors = np.zeros(len(PENALTIES))
    for fold in np.unique(folds):
        seen, unseen = folds != fold, folds == fold
        if not seen.any():
            continue
        for place, found in enumerate(_fits(features[seen], worth[seen], weight[seen])):
            errors[place] += float(np.sum(weight[unseen] * (found.predict(features[unseen]) - worth[unseen]) ** 2))
    return _fits(features, worth, weight)[int(np.argmin(errors))]


def _fits(features: Floats, worth: Floats, weight: Floats) -> list[Linear]:
    """One for each penalty, by one decomposition."""
    total = weight.sum()
    mean = weight @ features / total
    scale = np.sqrt(weight @ (features - mean) ** 2 / total)
    scale = np.where(scale > 1e-9, scale, 1.0)
    level = float(weight @ worth / total)
    root = np.sqrt(weight)[:, None]
    left, values, right = np.linalg.svd(root * (features - mean) / scale, full_matrices=False)
    projected = left.T @ (root[:, 0] * (worth - level))
    return [
        Linear(mean, scale, right.T @ (values / (values**2 + penalty) * projected), level, penalty)
        for penalty in PENALTIES
    ]


def measure(foretold: Floats, worth: Floats) -> Fit:
    """How well they go together; what never changes goes with nothing."""
    error = float(np.sqrt(np.mean((foretold - worth) ** 2)))
    if len(worth) < 3 or np.ptp(foretold) < 1e-12 or np.ptp(worth) < 1e-12:
        return Fit(0.0, 0.0, error)
    spearman = float(np.corrcoef(_ranks(foretold), _ranks(worth))[0, 1])
    return Fit(float(np.corrcoef(foretold, worth)[0, 1]), spearman, error)


def _ranks(values: Floats) -> Floats:
    """Places in order, the mean of them for equals."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], dtype=np.float64)
