"""The whole mesh's own code in virtual time while everything goes wrong, in short: `make simulate-faults` goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from faults.episode import Episode


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_whatever_goes_wrong_all_ends_once_and_is_paid_once(seed: int) -> None:
    result = Episode(seed).run()
    assert not result.wrong, f"python bench/simulate_faults.py --only --seed {seed}"
    assert result.lives
    assert sum(result.faults.values())


def test_the_same_seed_is_the_same_run_to_the_last_message() -> None:
    one, other = Episode(1).run(), Episode(1).run()
    assert (one.steps, one.messages, one.digest) == (other.steps, other.messages, other.digest)


def test_a_run_stops_at_the_step_that_is_asked_for() -> None:
    assert Episode(1, until=100).run().steps == 100
