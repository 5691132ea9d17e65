"""The whole mesh's own code in virtual time while everything goes wrong, in short: `make simulate-faults` goes on.

In processes of their own, with one order of all sets of texts: so these are the same runs each time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[3] / "bench"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(BENCH / "simulate_faults.py"), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_whatever_goes_wrong_all_ends_once_and_is_paid_once() -> None:
    run = start("--seed", "2", "--lives", "15", "--jobs", "1")
    told, _ = run.communicate()
    assert run.returncode == 0, told
    assert "0 seeds failed" in told


def test_the_same_seed_is_the_same_run_to_the_last_message() -> None:
    runs = [start("--only", "--seed", "1"), start("--only", "--seed", "1")]
    one, other = (run.communicate()[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0], one
    assert one == other
    assert "digest" in one
