"""The sharing rules, row by row, against the file that the storage router is held to as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from horde.gateway.core.placement import PlacementFacts, decide_placement

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "protos/vectors/placement.json").read_text("utf-8"))[
    "vectors"
]


def test_the_file_holds_every_combination() -> None:
    assert len({tuple(sorted(vector["facts"].items())) for vector in VECTORS}) == 8


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_placement_is_the_one_in_the_file(vector: dict[str, Any]) -> None:
    decision = decide_placement(PlacementFacts(**vector["facts"]))
    assert decision.placement.value == vector["placement"]
    assert decision.tax_mkudos == vector["tax_mkudos"]
    assert [notice.value for notice in decision.notices] == ([vector["notice"]] if vector["notice"] else [])
