"""What ten farms earn in an hour, beside a cheap GPU that paints: run it with `make farms`.

The cores of the scheduler and of the ledger in virtual time, thirty days of each world (`tests/unit/farms`). The short
form is a test. Ends with status 1 if a farm earns more than the painter.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.farms.schemes import FARMS, earned_per_hour, painter  # noqa: E402 - the tests are no package

PAINTER = "cheap GPU that paints"


def run(name: str, days: float) -> list[float]:
    """Kudos an hour at the end of each day."""
    return earned_per_hour(painter if name == PAINTER else FARMS[name], days)


def draw(earned: dict[str, list[float]], path: Path) -> None:
    """A bar for each, the painter's as a line through all."""
    names = sorted((name for name in earned if name != PAINTER), key=lambda name: earned[name][-1])
    painter_earns = earned[PAINTER][-1]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    bars = axes.barh(names, [max(0.0, earned[name][-1]) for name in names], color="#b4543c")
    axes.bar_label(bars, fmt="%.1f", padding=4)
    axes.axvline(painter_earns, color="#2f6f4f", linewidth=2)
    axes.text(painter_earns - 15, 0, f"{PAINTER}: {painter_earns:,.0f}", rotation=90, ha="right", va="bottom",
              color="#2f6f4f")  # fmt: skip
    axes.set_xlabel("kudos an hour, over all of a farm's accounts")
    axes.set_title(f"Ten farms that paint nothing, {len(earned[names[0]])} days each")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--png", type=Path, default=ROOT / "ledger" / "farms.png")
    told_to = parser.parse_args()
    began = time.perf_counter()
    names = [PAINTER, *FARMS]
    by_farm: dict[str, list[float]] = {}
    print(f"{'':24}{'first day':>12}{'all days':>12}   kudos an hour, {told_to.days:g} days")
    with ProcessPoolExecutor(told_to.jobs) as processes:
        for name, earned in zip(names, processes.map(run, names, [told_to.days] * len(names)), strict=True):
            by_farm[name] = earned
            print(f"{name:24}{earned[0]:12.1f}{earned[-1]:12.1f}", flush=True)
    painter_earns = by_farm[PAINTER][-1]
    draw(by_farm, told_to.png)
    print(f"drawn in {told_to.png}; {time.perf_counter() - began:.0f} s")
    return 0 if all(by_farm[name][-1] < painter_earns for name in FARMS) else 1


if __name__ == "__main__":
    sys.exit(main())
