"""Farms of ratings do not pay: the short form of `make raters`."""

from __future__ import annotations

import pytest
from tests.unit.curation.raters import FARMS, earned, ring

HOURS, ACCOUNTS, HUMANS = 0.2, 5, 5


@pytest.mark.parametrize("name", FARMS)
def test_a_farm_of_several_accounts_earns_less_an_hour_than_one_person_who_looks(name: str) -> None:
    farm, person, error = earned(FARMS[name], ACCOUNTS, HOURS, seed=3, humans=HUMANS)
    assert farm < person / 4
    assert person > 50
    # ... and what the images are said to be worth is still what people see.
    assert error < 1.2


def test_accounts_that_agree_with_each_other_and_with_nobody_else_earn_next_to_nothing() -> None:
    farm, person, _ = earned(ring, ACCOUNTS, HOURS, seed=3, humans=HUMANS)
    assert farm < person / 4


def test_without_anybody_who_is_known_nobody_becomes_known() -> None:
    farm, person, _ = earned(ring, ACCOUNTS, HOURS, seed=3, humans=HUMANS, known=0)
    assert (farm, person) == (0, 0)
