"""What is typed: `horde ratings train` and `horde ratings evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from horde.data_releases.aesthetics.encoders import BadEncoder, open_encoder
from horde.data_releases.aesthetics.predictor import BadPredictor, load_predictor
from horde.data_releases.aesthetics.reading import BadRelease
from horde.data_releases.aesthetics.telling import PLOT, SCORES, draw, table, write_scores
from horde.data_releases.aesthetics.training import HELD_OUT, Outcome, TooFewRatings, evaluate, train
from horde.data_releases.commands import FAILED, USAGE

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
RELEASES = click.argument("releases", nargs=-1, required=True, type=FOLDER, metavar="RELEASE...")
ENCODER = click.option(
    "--encoder", type=FOLDER, help="A folder of transformers or diffusers. Default: the small model."
)
OUT = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("predictor"), show_default=True
)
JSON = click.option("--json", "as_json", is_flag=True, help="Say the numbers as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Learn how beautiful people find images, from copies of data releases."""


@main.command("train")
@RELEASES
@ENCODER
@OUT
@click.option("--split", default="1", show_default=True, help="Another word holds other prompts out.")
@click.option(
    "--held-out", type=click.FloatRange(0.05, 0.9), default=HELD_OUT, show_default=True, help="Share of prompts."
)
@JSON
def train_command(
    releases: Sequence[Path], encoder: Path | None, out: Path, split: str, held_out: float, as_json: bool
) -> None:
    """Fit a predictor upon a frozen encoder; leaves it in --out, with a score for every image and a plot.

    RELEASE is a folder that `horde release pull` has made; several are one set.
    """
    outcome = _run(lambda: train(releases, open_encoder(encoder), split, held_out))
    outcome.predictor.save(out)
    _tell(outcome, out, as_json)


@main.command("evaluate")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@RELEASES
@ENCODER
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Leave scores and a plot here.")
@JSON
def evaluate_command(
    file: Path, releases: Sequence[Path], encoder: Path | None, out: Path | None, as_json: bool
) -> None:
    """Measure the predictor in FILE (or its folder) on images whose prompts it was not trained on."""
    outcome = _run(lambda: evaluate(load_predictor(file), releases, open_encoder(encoder)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    _tell(outcome, out, as_json)


def _tell(outcome: Outcome, out: Path | None, as_json: bool) -> None:
    if out is not None:
        write_scores(outcome, out / SCORES)
        draw(outcome, out / PLOT)
    click.echo(json.dumps(outcome.metrics, sort_keys=True) if as_json else "\n".join(table(outcome)))
    if out is not None:
        click.echo(str(out), err=True)


def _run(work: Callable[[], Outcome]) -> Outcome:
    try:
        return work()
    except (BadEncoder, BadPredictor) as error:
        status, message = USAGE, str(error)
    except (BadRelease, TooFewRatings, OSError) as error:
        status, message = FAILED, str(error)
    click.echo(f"error: {message}", err=True)
    sys.exit(status)
