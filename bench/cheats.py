"""Who cheats is caught, after how many jobs; and who is honest is not: run it with `make cheats`.

Pictures of the small real model at 64x64, painted in two precisions, in fewer steps, of another prompt and with cruder
weights, go through the real core of the scheduler and the router's comparison; ledger, storage and workers are played
(`tests/unit/scheduler/cheats.py`, whose short form is a test). Ends with status 1 if pure junk lasts longer than three
jobs, somebody honest is punished, or looking costs more than 3 % of all work.

On a slow machine in pieces: with `--album FOLDER` pictures are kept and not painted again, `--paint` does only that,
and `--only NAME …` watches some of the cheats, after fewer `--honest` jobs if need be. No figure depends on how long it
takes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tests.unit.scheduler.cheats import (  # noqa: E402 - the tests are no package
    COARSE,
    DEVICES,
    EXACT,
    FEWER,
    MODEL,
    PROMPT,
    Album,
    Mesh,
    Picture,
    honest_mesh,
    schemes,
)

from horde.scheduler.core.checks import CREDIT, KEPT  # noqa: E402
from horde.worker_agent.core import jobs, measuring  # noqa: E402
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings  # noqa: E402
from horde.worker_agent.painters.models import find_models  # noqa: E402
from horde.worker_agent.painters.one_pass import Painting  # noqa: E402

SIDE, STEPS, FEWER_STEPS = 64, 20, 8
SUBJECTS = (
    "a red fox",
    "a lighthouse",
    "a bowl of oranges",
    "a green field",
    "a blue house",
    "a cat",
    "a tree",
    "the sea",
)
PLACES = ("in the snow", "at night", "on a table")
LEVELS = 15
"""Of the weights of the other model: four bits, where the real ones have sixteen."""
JUNK = ("blank", "random", "other prompt")
TURNED = "200 honest, then all blank"


class Silent:
    """Watches nothing."""

    def stepped(self, step: int) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...

    def cancelled(self) -> bool:
        return False


def studio(model: str, precision: str) -> Studio:
    """A painter with one model."""
    opened = Studio(StudioSettings(find_models(model, Path("unused")).models, threads=1, precision=precision))
    opened.load()
    return opened


def cruder(folder: Path) -> Path:
    """The model with weights of four bits, in a folder."""
    source = Path(find_models("paintbox", Path("unused")).models[0].place)
    copy = folder / "paintbox"
    shutil.rmtree(copy, ignore_errors=True)  # Perhaps half of it: whoever painted was cut off.
    # Without the list of what the files must be.
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("catalogue.json"))
    for path in (copy / "unet").glob("*.safetensors"):
        weights = load_file(path)
        for name, values in weights.items():
            largest = values.abs().max().clamp(min=1e-8).float()
            weights[name] = ((values.float() / largest * LEVELS / 2).round() * 2 / LEVELS * largest).to(values.dtype)
        save_file(weights, path)
    return copy


def paint_album(count: int, folder: Path) -> Album:
    """Pictures of so many jobs, in every way; those that the folder has are read."""
    measuring.BENCHMARK_SIDE = SIDE
    prompts = [f"{SUBJECTS[number % len(SUBJECTS)]} {PLACES[number % len(PLACES)]}" for number in range(count)]

    def all_of(way: str, opened: Callable[[], Studio], steps: int = STEPS, shift: int = 0) -> list[Picture]:
        pictures: list[Picture] = []
        painter: Studio | None = None
        for number in range(count):
            path = folder / f"{way} {number}.png"
            if not path.exists():
                painter = painter or opened()
                prompt = prompts[(number + shift) % count]
                painted = painter.paint(jobs.Picture("paintbox", prompt, SIDE, SIDE, steps, number), {}, Silent())
                assert isinstance(painted, Painting), painted
                painted.image.convert("RGB").save(path)
            with Image.open(path) as picture:
                pictures.append(picture.convert("RGB"))
        return pictures

    exact = cache(partial(studio, "paintbox", "float32"))
    return Album(
        {
            EXACT: all_of(EXACT, exact),
            COARSE: all_of(COARSE, lambda: studio("paintbox", "bfloat16")),
            FEWER: all_of(FEWER, exact, FEWER_STEPS),
            PROMPT: all_of(PROMPT, exact, shift=1),
            MODEL: all_of(MODEL, lambda: studio(f"paintbox={cruder(folder)}", "float32")),
        }
    )


def honest(album: Album, count: int, seed: int) -> tuple[Mesh, int, float, float]:
    """A mesh in which so many jobs were painted honestly: it, how many were punished, and the shares of work that went
    into looking, in all of it and in its second half."""
    mesh, painters = honest_mesh(album, seed)
    checks = mesh.table.board.checks
    half = (0.0, 0.0)
    for number in range(count):
        if number == count // 2:
            half = checks.work, checks.checked
        mesh.asks(painters[number % len(painters)])
    work, checked = checks.work - half[0], checks.checked - half[1]
    punished = sum(mesh.standing(painter).caught for painter in painters)
    return mesh, punished, checks.share, checked / (work + checked)


def tell(name: str, found: list[int | None], most: int) -> None:
    """A line of the table."""
    known = [jobs for jobs in found if jobs is not None]
    median = f"{statistics.median(known):g}" if known else f"> {most}"
    worst = f"{max(known)}" if len(known) == len(found) else f"> {most}"
    print(f"{name:30}{len(known):>4} of {len(found):<4}{median:>9}{worst:>9}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--honest", type=int, default=10_000, help="jobs")
    parser.add_argument("--runs", type=int, default=10, help="cheats of each kind")
    parser.add_argument("--most", type=int, default=400, help="jobs that a cheat is watched for")
    parser.add_argument("--album", type=Path, help="the folder in which pictures are kept")
    parser.add_argument("--paint", action="store_true", help="paint, and look at nothing")
    parser.add_argument("--only", nargs="*", help="of the cheats, those")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kept: Path = asked.album or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        album = paint_album(asked.pictures, kept)
    print(
        f"{len(album)} jobs of {SIDE}x{SIDE} in {STEPS} steps painted in five ways, {time.perf_counter() - began:.0f} s"
    )
    if asked.paint:
        return 0
    mesh, punished, share, steady = honest(album, asked.honest, seed=1)
    print(f"{asked.honest:,} honest jobs on {', '.join(DEVICES)}: {punished} owners punished")
    print(f"looking is {share:.2%} of all work, {steady:.2%} in the second half; {dict(mesh.table.board.checks.over)}")
    print(f"\n{'caught':30}{'':>11}{'median':>9}{'worst':>9}   jobs")
    failed = punished > 0 or steady > 0.03
    devices = list(DEVICES)
    for name, (cheat, every) in schemes(album).items():
        if asked.only is not None and name not in asked.only:
            continue
        found = watch(mesh, name, cheat, every, devices, asked.runs, asked.most)
        tell(name, found, asked.most)
        failed |= name in JUNK and any(jobs is None or jobs > 3 for jobs in found)
    turned = []
    for number in range(asked.runs if asked.only is None or TURNED in asked.only else 0):
        save_up(mesh)
        painter = mesh.joins(f"turned {number}", devices[number % len(devices)])
        for _ in range(200):
            mesh.asks(painter)
        painter.cheat = schemes(album)["blank"][0]
        turned.append(mesh.caught_after(painter, asked.most))
    if turned:
        tell(TURNED, turned, asked.most)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return int(failed)


def watch(
    mesh: Mesh, name: str, cheat: Callable[..., Picture], every: int, devices: list[str], runs: int, most: int
) -> list[int | None]:
    """After how many jobs each of some cheats is caught."""
    found = []
    for number in range(runs):
        save_up(mesh)
        painter = mesh.joins(f"{name} {number}", devices[number % len(devices)], cheat, every)
        found.append(mesh.caught_after(painter, most))
    return found


def save_up(mesh: Mesh) -> None:
    """Cheats come one at a time, and are few among many: what these have painted meanwhile is saved up for looks."""
    checks = mesh.table.board.checks
    checks.credit, checks.kept = CREDIT, KEPT


if __name__ == "__main__":
    sys.exit(main())
