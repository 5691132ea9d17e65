"""The sharing table, against the vector file that the gateway is held to as well."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from horde.storage_router.core.errors import PlacementMismatch
from horde.storage_router.core.orders import CommitOrder, Publication
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts, check_placement, place
from horde.storage_router.core.records import Content

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "protos" / "vectors" / "placement.json").read_text()
)["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_each_vector_gives_its_placement(vector: dict[str, Any]) -> None:
    assert place(PlacementFacts(**vector["facts"])) is Placement(vector["placement"])


def test_the_vectors_are_all_combinations_once() -> None:
    combinations = [(v["facts"]["anonymous"], v["facts"]["asked"], v["facts"]["has_input"]) for v in VECTORS]
    assert sorted(combinations) == sorted(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_any_other_placement_is_refused(vector: dict[str, Any]) -> None:
    facts = PlacementFacts(**vector["facts"])
    right = Placement(vector["placement"])
    wrong = Placement.SHARED if right is Placement.PRIVATE else Placement.PRIVATE
    check_placement(right, facts)
    with pytest.raises(PlacementMismatch) as caught:
        check_placement(wrong, facts)
    assert caught.value.metadata == {"signed": wrong.value, "computed": right.value}


@pytest.mark.parametrize(
    ("anonymous", "asked", "has_input", "ordered", "signed"),
    [
        values
        for values in itertools.product([False, True], [False, True], [False, True], Placement, Placement)
        if not (
            (values[0] or values[1])
            and not values[2]
            and values[3] is Placement.SHARED
            and values[4] is Placement.SHARED
        )
    ],
)
def test_a_publication_cannot_be_made_unless_all_agree_that_it_is_shared(
    anonymous: bool, asked: bool, has_input: bool, ordered: Placement, signed: Placement
) -> None:
    content = Content("00" * 32, 1, ImageFormat.PNG, 1, 1)
    facts = PlacementFacts(anonymous, asked, has_input)
    order = CommitOrder(
        "j", "l", "alice", content.sha256, ordered, facts, "o", timedelta(1), datetime(2026, 1, 1, tzinfo=UTC), {}
    )
    with pytest.raises(PlacementMismatch):
        Publication(order, content, signed)
