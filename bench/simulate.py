"""How long people wait under three policies, in virtual time: run it with `make simulate`.

    python bench/simulate.py [--seeds 5] [--painters 60] [--hours 2] [--loads 0.85 1.1]
    python bench/simulate.py --pools    one leader beside two, each with half of the models (`simulation/pools.py`)

The same traces for all three: first come, first served; AI Horde's order (most kudos first, a second of waiting counts
as five kudos, who polls first wins); and this mesh, which is the scheduler's real core. 60 painters of unlike speed,
with three to seven of 20 models each (Zipf), 12 s to load another, one in six away for a while, one painting in a
hundred six times as slow. 25 % of the asks are one account's with a million kudos, 35 % anonymous, 40 % of 200 people.
Load is relative to a fleet that never loads another model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "bench"))

from simulation.fairness import jain  # noqa: E402 - the tests and the bench are no packages
from simulation.mesh import Mesh  # noqa: E402
from simulation.policies import by_kudos, by_time  # noqa: E402
from simulation.pools import Pools  # noqa: E402
from simulation.trace import ANONYMOUS, HEAVY, REGULAR, make_trace  # noqa: E402
from simulation.world import Outcome, World  # noqa: E402

POLICIES: dict[str, Callable[..., World]] = {
    "first come": lambda trace: World(trace, lambda waiting, begin, stop: by_time(waiting, begin)),
    "most kudos": lambda trace: World(trace, lambda waiting, begin, stop: by_kudos(waiting, begin)),
    "this mesh": lambda trace: World(trace, Mesh),
}
IN_POOLS: dict[str, Callable[..., World]] = {
    "two pools": lambda trace: World(trace, Pools),
    "careless": lambda trace: World(trace, lambda trace, begin, stop: Pools(trace, begin, stop, careless=True)),
}
COLOURS = {"first come": "#8a8a8a", "most kudos": "#b4543c", "this mesh": "#2f6f4f"}


@dataclass(frozen=True)
class Run:
    """One policy on one trace."""

    policy: str
    load: float
    seed: int
    waits: dict[str, list[float]]
    goodput: float
    swaps: float
    held: tuple[float, float, int]
    """Parts of the estimates whose p50 and whose p90 held, and of how many."""
    hedged: int
    seconds: float
    by_kind: dict[str, tuple[float, float, int]]
    twice: int
    """How often a painter was promised twice, which only more than one leader can do."""


def run(policy: str, load: float, seed: int, painters: int, seconds: float) -> Run:
    begun = time.process_time()
    world = (POLICIES | IN_POOLS)[policy](make_trace(seed, load, painters, seconds))
    outcome = world.play()
    waits = {kind: outcome.waits(kind) for kind in (REGULAR, HEAVY, ANONYMOUS)}
    hedged = world.policy.hedged if isinstance(world.policy, Mesh | Pools) else 0
    twice = world.policy.twice if isinstance(world.policy, Pools) else 0
    return Run(
        policy, load, seed, waits, outcome.goodput, outcome.swaps / max(1, outcome.begun), held(outcome), hedged,
        time.process_time() - begun, {kind: held(outcome, kind) for kind in waits}, twice,
    )  # fmt: skip


def held(outcome: Outcome, kind: str = "") -> tuple[float, float, int]:
    """How many waits were no longer than their estimates said, of those that were begun or are surely longer."""
    met50 = met90 = known = 0
    for ask in outcome.asks:
        if ask.promised is None or (kind and ask.kind != kind):
            continue
        wait = (ask.begun if ask.begun is not None else outcome.seconds) - ask.at
        p50, p90 = ask.promised
        if ask.begun is None and wait <= p90:
            continue
        known += 1
        met50 += wait <= p50 + 0.5
        met90 += wait <= p90 + 0.5
    return (met50 / known, met90 / known, known) if known else (0.0, 0.0, 0)


def percentile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def median_of(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return statistics.median(value(one_run) for one_run in runs)


def table(runs: list[Run], loads: Sequence[float], policies: Sequence[str]) -> None:
    for load in loads:
        print(f"\nload {load}: medians of {len({one_run.seed for one_run in runs})} seeds; waits p50 / p99 in seconds")
        print(f"  {'':<12}{'ordinary':>16}{'heavy':>16}{'anonymous':>16}{'goodput':>10}{'swaps':>8}{'p90 held':>10}")
        base = "most kudos" if "most kudos" in policies else "this mesh"
        first = median_of(
            [one_run for one_run in runs if one_run.load == load and one_run.policy == base], lambda r: r.goodput
        )
        for policy in policies:
            mine = [one_run for one_run in runs if one_run.load == load and one_run.policy == policy]
            cells = "".join(
                f"{median_of(mine, lambda r, k=kind: percentile(r.waits[k], 0.5)):>8.0f} /"  # type: ignore[misc]
                f"{median_of(mine, lambda r, k=kind: percentile(r.waits[k], 0.99)):>6.0f}"  # type: ignore[misc]
                for kind in (REGULAR, HEAVY, ANONYMOUS)
            )
            promise = (
                f"{median_of(mine, lambda r: r.held[1]):>9.0%}"
                if "mesh" in policy or policy == "two pools"
                else f"{'-':>9}"
            )
            print(
                f"  {policy:<12}{cells}{median_of(mine, lambda r: r.goodput) / first:>9.2f}x"
                f"{median_of(mine, lambda r: r.swaps):>8.3f}{promise:>10}"
                + (f"{median_of(mine, lambda r: r.twice):>8.0f} promised twice" if policy in IN_POOLS else "")
            )


def draw(runs: list[Run], loads: Sequence[float], path: Path) -> None:
    """How many have waited no longer than so long: ordinary people and anonymous ones."""
    figure, rows = plt.subplots(len(loads), 2, figsize=(10, 3.2 * len(loads)), layout="constrained", squeeze=False)
    for row, load in zip(rows, loads, strict=True):
        for axes, kind in zip(row, (REGULAR, ANONYMOUS), strict=True):
            for policy in POLICIES:
                waits = sorted(
                    wait
                    for one_run in runs
                    if one_run.load == load and one_run.policy == policy
                    for wait in one_run.waits[kind]
                )
                step = max(1, len(waits) // 500)
                shown = waits[::step]
                axes.plot(
                    [max(0.5, wait) for wait in shown], [(i + 1) / len(shown) for i in range(len(shown))],
                    color=COLOURS[policy], label=policy,
                )  # fmt: skip
            axes.set_xscale("log")
            axes.set_xlabel("seconds until begun")
            axes.set_title(f"{kind}, load {load}", fontsize=10)
            axes.grid(alpha=0.3)
    rows[0][0].set_ylabel("part of the pictures")
    rows[0][0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--painters", type=int, default=60)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.85, 1.1])
    parser.add_argument("--pools", action="store_true", help="this mesh beside two pools of models, each with a leader")
    parser.add_argument("--draw", type=Path, help="also draw the waits there, as a PNG")
    arguments = parser.parse_args()
    policies = ("this mesh", *IN_POOLS) if arguments.pools else tuple(POLICIES)
    plans = [
        (policy, load, seed, arguments.painters, arguments.hours * 3600)
        for policy in policies
        for load in arguments.loads
        for seed in range(arguments.seeds)
    ]
    with ProcessPoolExecutor() as pool:
        runs = list(pool.map(run, *zip(*plans, strict=True)))
    table(runs, arguments.loads, policies)
    if arguments.pools:
        return 0
    mine = [one_run for one_run in runs if one_run.policy == "this mesh"]
    for kind in (REGULAR, HEAVY, ANONYMOUS):
        print(f"  p90 held, {kind}: {median_of(mine, lambda r, k=kind: r.by_kind[k][1]):.0%}")  # type: ignore[misc]
    hedged = sum(one_run.hedged for one_run in mine)
    print(f"\nhedged: {hedged}; estimates: p50 held {median_of(mine, lambda r: r.held[0]):.0%}")
    print(f"service over weight, twelve who always wait: Jain's index {jain():.3f}")
    if arguments.draw:
        draw(runs, arguments.loads, arguments.draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
