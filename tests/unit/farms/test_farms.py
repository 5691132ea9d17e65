"""No farm earns more in an hour than a cheap GPU that paints. The long form, over thirty days, is `make farms`."""

from __future__ import annotations

from functools import cache

import pytest
from tests.unit.farms.schemes import FARMS, earned_per_hour, painter

DAYS = 1.0


@cache
def cheap() -> float:
    """Kudos an hour of the cheap painter."""
    return earned_per_hour(painter, 0.25)[-1]


def test_a_cheap_gpu_earns_what_the_price_table_says() -> None:
    # Two steps a second at 512x512, 10.83 kudos for fifty, and a little for being there.
    assert 1_400 < cheap() < 1_900


@pytest.mark.parametrize("name", FARMS)
def test_no_farm_earns_more_than_a_cheap_gpu_that_paints(name: str) -> None:
    assert earned_per_hour(FARMS[name], DAYS)[-1] < cheap()
