"""What farms of ratings earn in an hour, beside people who look: run it with `make raters`.

The cores of curation and ledger in virtual time (`tests/unit/curation/raters.py`). Ends with status 1 if one of the
three farms earns more than one person does. Two more are shown: a ring whose accounts agree with each other alone, and
a poor predictor, half of whose spread is what people see: what that one earns is bounded by the day's bounds alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.curation.raters import FARMS, Answering, earned, predictor, ring  # noqa: E402 - the tests are no package

SHOWN: dict[str, Answering | None] = {"nobody": None, **FARMS, "ring": ring, "poor predictor": predictor}


def run(name: str, accounts: int, hours: float, seed: int, humans: int, bounded: bool) -> tuple[float, float, float]:
    """Of one world."""
    return earned(SHOWN[name], accounts, hours, seed, humans=humans, bounded=bounded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.25)
    parser.add_argument("--accounts", type=int, default=10, help="of a farm, each answering every 1.6 s")
    parser.add_argument("--humans", type=int, default=10, help="of one account each, answering every 3 to 10 s")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    told_to = parser.parse_args()
    began = time.perf_counter()
    failed = False
    with ProcessPoolExecutor(told_to.jobs) as processes:
        for bounded, title in ((False, "by the rules on looking alone"), (True, "with the day's bounds")):
            print(f"\n{title}: kudos an hour, mean of {told_to.seeds} worlds of {told_to.hours:g} h")
            print(f"{f'farm of {told_to.accounts} accounts':20}{'farm':>10}{'one person':>12}{'error of the mean':>20}")
            for name in SHOWN:
                worlds = [
                    processes.submit(run, name, told_to.accounts, told_to.hours, seed, told_to.humans, bounded)
                    for seed in range(told_to.seeds)
                ]
                farm, person, error = (
                    sum(row) / len(worlds) for row in zip(*(w.result() for w in worlds), strict=True)
                )
                print(f"{name:20}{farm:10.1f}{person:12.1f}{error:20.2f}", flush=True)
                failed |= name in FARMS and farm >= person
    print(f"\n{time.perf_counter() - began:.0f} s; the error is of what images are said to be worth, in points of ten")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
