"""What came of training or evaluating, for people and programs: a table, a column of scores, a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from horde.data_releases.aesthetics.training import Outcome
from horde.data_releases.tables import open_writer

SCORES: Final = "scores.parquet"
PLOT: Final = "plot.png"
_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata={"meaning": "the image's id"}),
        pa.field("aesthetic_score", pa.float32(), nullable=False, metadata={"meaning": "foretold, 1 to 10"}),
        pa.field("held_out", pa.bool_(), nullable=False, metadata={"meaning": "its prompt was not trained on"}),
        pa.field("ratings", pa.int32(), nullable=False, metadata={"meaning": "how many people rated it"}),
        pa.field("rating_mean", pa.float32(), metadata={"meaning": "what they say, less each's own level"}),
    ]
)  # fmt: skip


def table(outcome: Outcome) -> Iterator[str]:
    """Lines for a terminal."""
    metrics = outcome.metrics
    images, rated, held_out = (metrics[name] for name in ("images", "rated", "held_out"))
    yield f"{images:,} images, {rated:,} rated, {held_out:,} of them held out by prompt"
    yield f"encoder {outcome.predictor.encoder}, {outcome.seen.features.shape[1]} numbers for an image"
    yield f"{'':16}{'Pearson':>9}{'Spearman':>10}{'error':>8}"
    for name, found in metrics["by"].items():
        yield f"{name:16}{found['pearson']:9.3f}{found['spearman']:10.3f}{found['error']:8.2f}"
    yield f"{'ceiling':16}{metrics['ceiling']:9.3f}   a perfect predictor, by how far raters disagree"


def write_scores(outcome: Outcome, path: Path) -> None:
    """The scored column, a row for each image, in the order of the release."""
    count = np.zeros(len(outcome.seen.ids), np.int32)
    mean = np.full(len(outcome.seen.ids), np.nan)
    count[outcome.rated.rows] = outcome.rated.targets.count
    mean[outcome.rated.rows] = outcome.rated.targets.worth
    columns = [
        pa.array(outcome.seen.ids, pa.string()),
        pa.array(outcome.scores.astype(np.float32)),
        pa.array(outcome.held_out),
        pa.array(count),
        pa.array(mean.astype(np.float32), from_pandas=True),
    ]
    with open_writer(path, _SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))


def draw(outcome: Outcome, path: Path) -> None:
    """What was foretold beside what people say, of images that were held out; and the baselines."""
    # It takes a second to load.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = outcome.held_out[outcome.rated.rows]
    rows, worth = outcome.rated.rows[chosen], outcome.rated.targets.worth[chosen]
    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.scatter(worth, outcome.scores[rows], s=10, alpha=0.6, color="#3b6ea5", linewidths=0)
    left.plot([1, 10], [1, 10], color="#999999", linewidth=1)
    left.set_xlabel("what people say")
    left.set_ylabel("foretold")
    left.set_title(f"{len(rows)} images with prompts never seen")
    names = list(outcome.metrics["by"])
    correlations = [outcome.metrics["by"][name]["pearson"] for name in names[::-1]]
    bars = right.barh(names[::-1], correlations, color="#3b6ea5")
    right.bar_label(bars, fmt="%.2f", padding=3)
    right.axvline(outcome.metrics["ceiling"], color="#2f6f4f", linewidth=2, label="ceiling")
    right.set_xlim(min(-0.2, min(correlations) - 0.25), 1.05)
    right.set_xlabel("Pearson's correlation, held out")
    right.legend(loc="lower right")
    figure.savefig(path, format="png", metadata={"Software": None})
