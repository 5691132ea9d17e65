"""What a mesh needs grows with what is asked of it, and nobody is told that one leader bears what it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from horde.cli.capacity.reckoning import DOORS, LED, SINGLE, Capacity, Need, TooMuch, Wanted
from horde.cli.commands.main import main

MEASURED: dict[str, Any] = json.loads((files("horde.cli.capacity") / "measured.json").read_text())
SMALL = Wanted(2.0)


def needs(wanted: Wanted) -> dict[str, Need]:
    return {need.who: need for need in Capacity(MEASURED).needs(wanted)}


def test_every_service_and_server_has_a_row_and_was_measured() -> None:
    assert set(needs(SMALL)) == {*DOORS, *LED, *SINGLE, "postgresql", "redis", "s3"}
    for need in needs(SMALL).values():
        assert need.cores > 0 or need.who == "curation"
    assert all(MEASURED["memory_mb"][name] > 20 for name in (*DOORS, *LED, *SINGLE))


@given(st.floats(0.1, 20), st.integers(0, 2_000), st.floats(0, 100))
def test_who_asks_for_more_needs_no_less(rate: float, workers: int, shared: float) -> None:
    wanted = Wanted(rate, workers, shared)
    most, _ = Capacity(MEASURED).most(wanted)
    if most < 1.5 * rate:
        return
    for more in (replace(wanted, images_per_second=1.4 * rate), replace(wanted, workers=workers + 1)):
        before, after = needs(wanted), needs(more)
        for name, need in before.items():
            assert after[name].processes >= need.processes
            assert after[name].cores * max(1, after[name].processes) >= need.cores * max(1, need.processes) * 0.5
        assert after["postgresql"].cores >= before["postgresql"].cores


def test_the_figures_of_private_and_shared_images_are_mixed() -> None:
    capacity = Capacity(MEASURED)
    private, half, shared = (
        capacity.image(replace(SMALL, shared_percent=share), "s3_requests") for share in (0, 50, 100)
    )
    assert (private, shared) == tuple(MEASURED["image"][kind]["s3_requests"] for kind in ("private", "shared"))
    assert half == (private + shared) / 2


def test_more_than_one_leader_bears_is_refused_by_its_name() -> None:
    most, who = Capacity(MEASURED).most(SMALL)
    assert who in LED
    needs(replace(SMALL, images_per_second=most * 0.99))
    with pytest.raises(TooMuch, match=f"one {who} leads"):
        needs(replace(SMALL, images_per_second=most * 1.01))


def test_the_command_says_it_in_lines_and_in_a_document() -> None:
    runner = CliRunner()
    told = runner.invoke(main, ["capacity", "--images-per-second", "5", "--workers", "200"])
    assert told.exit_code == 0, told.output
    assert "postgresql" in told.output
    document = json.loads(runner.invoke(main, ["capacity", "--images-per-second", "5", "--json"]).stdout)
    assert {row["who"] for row in document["needs"]} == set(needs(SMALL))
    refused = runner.invoke(main, ["capacity", "--images-per-second", "100000"])
    assert refused.exit_code == 1
    assert "leads" in refused.output
