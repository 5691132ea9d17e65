"""The simulator's claims, in short: the real core beside two other policies on the same trace, in virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from simulate import Run, percentile, run
from simulation.fairness import jain
from simulation.trace import ANONYMOUS, HEAVY, REGULAR

SECONDS = 1_500.0


def _runs(load: float) -> dict[str, Run]:
    return {policy: run(policy, load, 3, 24, SECONDS) for policy in ("first come", "most kudos", "this mesh")}


def test_ordinary_people_wait_a_fraction_and_more_is_painted() -> None:
    runs = _runs(0.85)
    mesh, kudos = runs["this mesh"], runs["most kudos"]
    assert 5 * percentile(mesh.waits[REGULAR], 0.99) < percentile(kudos.waits[REGULAR], 0.99)
    assert mesh.goodput > 1.3 * kudos.goodput
    assert mesh.goodput > 1.3 * runs["first come"].goodput
    assert 2 * mesh.swaps < kudos.swaps
    # Anonymous come last, and are still painted for.
    assert percentile(mesh.waits[HEAVY], 0.5) < percentile(mesh.waits[ANONYMOUS], 0.5) < SECONDS / 2


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = (run("this mesh", 1.1, 5, 10, 600.0) for _ in range(2))
    assert (first.waits, first.goodput, first.swaps) == (second.waits, second.goodput, second.swaps)


def test_who_always_waits_gets_what_the_weights_say() -> None:
    assert jain(900.0) > 0.95


def test_a_worker_of_two_pools_is_promised_once_where_its_slot_is_handed_over() -> None:
    pools, careless = (run(policy, 0.85, 3, 16, 600.0) for policy in ("two pools", "careless"))
    assert pools.twice == 0
    assert careless.twice > 0
    assert pools.goodput > careless.goodput
