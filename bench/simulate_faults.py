"""The whole mesh's own code in one process, on virtual time, while everything goes wrong: `make simulate-faults`.

    python bench/simulate_faults.py [--lives 20000] [--seed 1] [--jobs 2]    episodes from this seed on
    python bench/simulate_faults.py --seed 17 --only [--until 4711]          one, up to a step, with what happened
    python bench/simulate_faults.py --defects [--lives 5000]                 defects put in: which are noticed, and when

An episode is a mesh of two gateways, two routers, a scheduler and a ledger with a standby each, a few workers and some
hundred jobs, on the services' own code and their stores in memory; only the network, the clocks, the failpoints and the
workers are played. What must be true (design.md 10) is looked at with every commit. A life is a job.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and os.environ.get("PYTHONHASHSEED") != "0":
    # A set of texts must have the same order in every run, or a seed would not be the same run.
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})

import argparse
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults.defects import DEFECTS, put_in

if TYPE_CHECKING:
    from faults.episode import Result


def live(seed: int, until: int | None = None, tell: Callable[[str], None] | None = None) -> Result:
    """One episode, without the services' logs: they tell of every fault that is made here on purpose."""
    import logging

    import structlog
    from faults.episode import Episode

    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return Episode(seed, until, tell).run()


def many(first: int, lives: int, jobs: int) -> int:
    """Episodes until so many jobs have lived; the exit status."""
    began, seed = time.monotonic(), first
    done, steps, messages, wrong = 0, 0, 0, 0
    failed: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        while done < lives and wrong < 5:
            seeds = range(seed, seed + (4 * jobs if pool else 1))
            for result in (pool.map if pool else map)(live, seeds):
                done, steps, messages = done + result.lives, steps + result.steps, messages + result.messages
                failed += result.faults
                passed += result.passed
                endings += result.endings
                wrong += bool(result.wrong)
                for what in result.wrong[:3]:
                    print(f"seed {result.seed}, step {result.steps}: {what}", flush=True)
            seed = seeds.stop
    seconds = time.monotonic() - began

    from horde.services.failpoints import declared

    print(f"seeds {first} to {seed - 1}: {done:,} lives, {steps:,} steps, {messages:,} messages; {wrong} seeds failed")
    print(f"{seconds:.0f} s with {jobs} processes: {done / seconds:.0f} lives a second")
    print("ended:", ", ".join(f"{kind} {count:,}" for kind, count in endings.most_common()))
    print("faults:", ", ".join(f"{kind} {count:,}" for kind, count in failed.most_common()))
    missed = sorted(declared() - passed.keys())
    print(f"failpoints passed: {len(passed)} of {len(declared())}; not: {', '.join(missed) or 'none'}")
    return 1 if wrong else 0


def one(seed: int, until: int | None) -> int:
    """One episode, and what happened in it."""
    result = live(seed, until, print)
    print(f"seed {seed}: {result.lives} lives, step {result.steps}, {result.seconds:.3f} s, {result.messages} messages")
    print(f"digest {result.digest:x}; ended: {dict(result.endings)}")
    print(f"faults: {dict(result.faults)}")
    for what in result.wrong:
        print(f"WRONG: {what}")
    return 1 if result.wrong else 0


def until_noticed(name: str, first: int, lives: int) -> tuple[bool, str]:
    """Episodes with a defect until one fails: whether one did, and after how many lives."""
    put_in(name)
    done, seed = 0, first
    while done < lives:
        result = live(seed)
        done += result.lives
        if result.wrong:
            return True, f"{done} | seed {seed}, step {result.steps}: {result.wrong[0][:140]}"
        seed += 1
    return False, f"NOT in {done} |"


def all_defects(first: int, lives: int, jobs: int, words: list[str]) -> int:
    """Every defect in a process of its own, as a table; the exit status."""
    for needed in (
        "grpc.aio",
        "jwt",
        "structlog",
        "PIL.Image",
        "pydantic_settings",
        "sqlalchemy",
        "opentelemetry.metrics",
    ):
        import_module(needed)  # Once, before the processes part.
    chosen = [defect for defect in DEFECTS if all(word in defect.name for word in words)]
    missed = 0
    print("| defect | caught after lives | by |\n|---|---|---|")
    with get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        tried = [(defect, pool.apply_async(until_noticed, (defect.name, first, lives))) for defect in chosen]
        for defect, caught in tried:
            noticed, said = caught.get()
            missed += not noticed
            print(f"| {defect.name} | {said} |", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} defects were caught")
    return 1 if missed else 0


def main() -> int:
    """Do what the arguments say; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", action="store_true", help="this seed alone, and what happened")
    parser.add_argument("--until", type=int, help="stop that one at this step")
    parser.add_argument("--defects", nargs="*", metavar="WORD", help="try the defects whose names have these words")
    options = parser.parse_args()
    if options.defects is not None:
        return all_defects(options.seed, options.lives, options.jobs, options.defects)
    if options.only or options.until is not None:
        return one(options.seed, options.until)
    return many(options.seed, options.lives, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
