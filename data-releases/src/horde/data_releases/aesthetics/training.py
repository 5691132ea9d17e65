"""Training and evaluating: releases in, a predictor, scores and numbers out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from horde.data_releases.aesthetics.encoders import Encoder
from horde.data_releases.aesthetics.predictor import BadPredictor, Predictor
from horde.data_releases.aesthetics.reading import Picture, read_pictures, read_ratings, source
from horde.data_releases.core.ridge import Fit, Linear, fit, measure
from horde.data_releases.core.targets import Floats, Ints, Targets, ceiling, find_targets

BATCH: Final = 32
HELD_OUT: Final = 0.25
LEAST_RATED: Final = 20
"""Images, in training as well as held out."""
BASELINES: Final = ("brightness", "size", "prompt length")
"""What a predictor must be better than: each by itself, fitted as it is."""


class TooFewRatings(ValueError):
    """Nothing can be learnt, or nothing measured."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All images of some releases, as the encoder sees them; a row each."""

    ids: tuple[str, ...]
    features: NDArray[np.float32]
    simple: Floats
    """The baselines' numbers."""
    lot: NDArray[np.float64]
    """Of the prompt: 0 to 1, as good as random, the same for the same prompt."""
    group: Ints
    """Of the prompt."""


@dataclass(frozen=True, slots=True)
class Rated:
    """Those of the images that are rated."""

    rows: Ints
    """Their places among all."""
    targets: Targets


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    predictor: Predictor
    seen: Seen
    rated: Rated
    scores: Floats
    """Of every image."""
    held_out: NDArray[np.bool_]
    """Of every image: its prompt was not trained on."""
    metrics: Mapping[str, Any]


def look(folders: Sequence[Path], encoder: Encoder, split: str) -> Seen:
    """Stream the images through the encoder. What is kept is a row of numbers for each."""
    ids: list[str] = []
    rows: list[NDArray[np.float32]] = []
    simple: list[tuple[float, float, float]] = []
    lots: list[int] = []
    for batch in _batches(read_pictures(folders)):
        rows.append(encoder.encode([picture.image for picture in batch]))
        for picture in batch:
            ids.append(picture.id)
            grey = np.asarray(picture.image.convert("L"), dtype=np.float64)
            simple.append((float(grey.mean()), float(grey.size), float(len(picture.prompt))))
            lots.append(prompt_lot(picture.prompt, split))
    if not ids:
        raise TooFewRatings("there is no image")
    lot = np.array(lots, dtype=np.uint64)
    return Seen(
        tuple(ids), np.concatenate(rows), np.array(simple), lot / 2.0**64, (lot >> np.uint64(3)).astype(np.int64)
    )


def prompt_lot(prompt: str, split: str) -> int:
    """64 bits that follow from a prompt, however it is spaced and capitalised."""
    digest = hashlib.sha256(f"{split}\n{' '.join(prompt.lower().split())}".encode())
    return int.from_bytes(digest.digest()[:8], "big")


def _batches(pictures: Iterator[Picture]) -> Iterator[list[Picture]]:
    while batch := list(islice(pictures, BATCH)):
        yield batch


def find_rated(folders: Sequence[Path], seen: Seen) -> Rated:
    """What the ratings say of the images. Raises TooFewRatings where there is none."""
    table = read_ratings(folders)
    place = {image_id: row for row, image_id in enumerate(seen.ids)}
    weights = table["weight"].to_pylist() if "weight" in table.column_names else [None] * len(table)
    sources = [
        (place[image_id], rater, score, 1.0 if weight is None else weight)
        for image_id, rater, score, weight in zip(
            table["id"].to_pylist(), table["rater"].to_pylist(), table["rating"].to_pylist(), weights, strict=True
        )
        if image_id in place and weight != 0
    ]
    if not sources:
        raise TooFewRatings("none of the images is rated")
    rows, image = np.unique(np.array([row for row, *_ in sources]), return_inverse=True)
    _, rater = np.unique([name for _, name, *_ in sources], return_inverse=True)
    score, weight = np.array([line[2] for line in sources], float), np.array([line[3] for line in sources], float)
    return Rated(rows, find_targets(image, rater, score, weight))


def train(folders: Sequence[Path], encoder: Encoder, split: str = "1", held_out: float = HELD_OUT) -> Outcome:
    """Fit a predictor, and measure it on prompts that it has not seen."""
    sources = [source(folder) for folder in folders]
    seen = look(folders, encoder, split)
    rated = find_rated(folders, seen)
    learnt = seen.lot[rated.rows] >= held_out
    if learnt.sum() < LEAST_RATED or (~learnt).sum() < LEAST_RATED:
        raise TooFewRatings(
            f"{len(learnt)} rated images, of which {(~learnt).sum()} are held out: each part needs {LEAST_RATED}"
        )
    head = _fit(seen.features.astype(np.float64), seen, rated, learnt)
    simple = {
        name: _fit(seen.simple[:, [column]], seen, rated, learnt).predict(seen.simple[:, [column]])
        for column, name in enumerate(BASELINES)
    }
    usual = float(np.mean(rated.targets.worth[learnt]))
    metrics = _metrics(head, seen, rated, ~learnt, {"mean": np.full(len(seen.ids), usual), **simple})
    trained_on = tuple(asdict(source) for source in sources)
    predictor = Predictor(head, encoder.name, encoder.digest, split, held_out, trained_on, metrics)
    return _outcome(predictor, seen, rated, metrics)


def evaluate(predictor: Predictor, folders: Sequence[Path], encoder: Encoder) -> Outcome:
    """Measure a predictor on images whose prompts it has not seen, of whatever releases."""
    if encoder.digest != predictor.encoder_digest:
        raise BadPredictor(f"it was trained upon {predictor.encoder}, and this is another encoder: {encoder.name}")
    seen = look(folders, encoder, predictor.split)
    rated = find_rated(folders, seen)
    unseen = seen.lot[rated.rows] < predictor.held_out
    if unseen.sum() < LEAST_RATED:
        raise TooFewRatings(f"{unseen.sum()} rated images whose prompts it has not seen: {LEAST_RATED} are needed")
    return _outcome(predictor, seen, rated, _metrics(predictor.head, seen, rated, unseen, {}))


def _fit(features: Floats, seen: Seen, rated: Rated, learnt: NDArray[np.bool_]) -> Linear:
    count = rated.targets.count[learnt]
    rows = rated.rows[learnt]
    # Many ratings say more than one, but not without end: the predictor errs, too.
    return fit(features[rows], rated.targets.worth[learnt], count / (count + 1.0), seen.group[rows])


def _metrics(
    head: Linear, seen: Seen, rated: Rated, chosen: NDArray[np.bool_], others: Mapping[str, Floats]
) -> dict[str, Any]:
    rows, worth = rated.rows[chosen], rated.targets.worth[chosen]
    fits: dict[str, Fit] = {"predictor": measure(head.predict(seen.features[rows].astype(np.float64)), worth)}
    fits |= {name: measure(foretold[rows], worth) for name, foretold in others.items()}
    return {
        "images": len(seen.ids),
        "rated": len(rated.rows),
        "held_out": int(chosen.sum()),
        "ceiling": ceiling(rated.targets, np.flatnonzero(chosen)),
        "by": {name: asdict(found) for name, found in fits.items()},
    }


def _outcome(predictor: Predictor, seen: Seen, rated: Rated, metrics: Mapping[str, Any]) -> Outcome:
    scores = predictor.head.predict(seen.features.astype(np.float64))
    return Outcome(predictor, seen, rated, scores, seen.lot < predictor.held_out, metrics)
