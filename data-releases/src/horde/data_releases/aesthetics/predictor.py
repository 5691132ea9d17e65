"""A trained predictor as it lies in a folder: `predictor.safetensors`, and `predictor.json` that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load_file, save_file

from horde.data_releases.core.ridge import Linear

FORMAT: Final = 1
TENSORS: Final = "predictor.safetensors"
DESCRIPTION: Final = "predictor.json"


class BadPredictor(ValueError):
    """A file that is no predictor, or of another encoder."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A linear head upon an encoder, and where it comes from."""

    head: Linear
    encoder: str
    encoder_digest: str
    split: str
    """What decides which prompts it has never seen."""
    held_out: float
    """Which share of them."""
    trained_on: tuple[Mapping[str, str], ...]
    metrics: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write both files; the same predictor has the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        head = self.head
        tensors = {"mean": head.mean, "scale": head.scale, "slope": head.slope, "level": np.array([head.level])}
        save_file({name: np.ascontiguousarray(value, dtype=np.float64) for name, value in tensors.items()},
                  folder / TENSORS)  # fmt: skip
        description = {
            "format": FORMAT,
            "encoder": {"name": self.encoder, "sha256": self.encoder_digest},
            "split": {"by": "SHA-256 of split and prompt", "split": self.split, "held_out": self.held_out},
            "trained_on": list(self.trained_on),
            "penalty": head.penalty,
            "metrics": self.metrics,
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")


def load_predictor(path: Path) -> Predictor:
    """The predictor in a folder, or of either of its files. Raises BadPredictor."""
    folder = path if path.is_dir() else path.parent
    try:
        description = json.loads((folder / DESCRIPTION).read_bytes())
        if description["format"] != FORMAT:
            raise BadPredictor(f"{folder} holds a predictor of format {description['format']}, which is not known here")
        tensors = load_file(folder / TENSORS)
        head = Linear(
            tensors["mean"],
            tensors["scale"],
            tensors["slope"],
            float(tensors["level"][0]),
            float(description["penalty"]),
        )
        return Predictor(
            head,
            description["encoder"]["name"],
            description["encoder"]["sha256"],
            description["split"]["split"],
            float(description["split"]["held_out"]),
            tuple(description["trained_on"]),
            description["metrics"],
        )
    except BadPredictor:
        raise
    except Exception as error:
        raise BadPredictor(f"{folder} holds no predictor: {error}") from error
