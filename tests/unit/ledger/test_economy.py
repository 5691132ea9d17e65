"""The numbers of the economy, rule by rule."""

from __future__ import annotations

import pytest

from horde.ledger.core.accounts import DAY_US, Owner
from horde.ledger.core.economy import KUDOS, Economy, Split

ECONOMY = Economy()
BOUND = ECONOMY.subsidised_earning_per_day_mkudos


@pytest.mark.parametrize(
    ("earned", "subsidised", "before", "trusted", "split"),
    [
        (10_000, 0, 0, True, Split(10_000, 0, 0)),
        (10_000, 0, 0, False, Split(5_000, 5_000, 0)),
        (10_001, 0, 0, False, Split(5_000, 5_001, 0)),
        (10_003, 0, 0, False, Split(5_001, 5_002, 0)),
        (1, 0, 0, False, Split(0, 1, 0)),
        (0, 0, 0, False, Split(0, 0, 0)),
        (10_000, 10_000, 0, True, Split(10_000, 0, 0)),
        (10_000, 10_000, BOUND, True, Split(0, 10_000, 10_000)),
        (10_000, 10_000, BOUND - 4_000, True, Split(4_000, 6_000, 6_000)),
        (10_000, 10_000, BOUND - 4_000, False, Split(2_000, 8_000, 6_000)),
        (10_000, 4_000, BOUND, True, Split(6_000, 4_000, 4_000)),
        (10_000, 4_000, BOUND + 1, False, Split(3_000, 7_000, 4_000)),
    ],
)
def test_an_earning_is_divided(earned: int, subsidised: int, before: int, trusted: bool, split: Split) -> None:
    assert ECONOMY.split_earning(earned, subsidised, before, trusted) == split
    assert split.to_spend + split.to_escrow == earned


@pytest.mark.parametrize(
    ("owner", "escrow", "due"),
    [
        (Owner("a", 0), 5_000 * KUDOS, 5_000 * KUDOS),
        (Owner("a", 0), 5_000 * KUDOS - 1, 0),
        (Owner("a", 1), 5_000 * KUDOS, 0),
        (Owner("a", 0, strikes=4), 5_000 * KUDOS, 5_000 * KUDOS),
        (Owner("a", 0, strikes=5), 5_000 * KUDOS, 0),
        (Owner("a", 0, parked=1), 5_000 * KUDOS, 0),
        (Owner("a", 0, parked=1), 5_000 * KUDOS + 1, 5_000 * KUDOS),
        (Owner("a", 0, decree=False), 9_000 * KUDOS, 0),
        (Owner("a", 0, promotions=1), 1, 1),
        (Owner("a", 0, promotions=1, strikes=5), 1, 0),
        (Owner("a", 7 * DAY_US, decree=True), 1, 1),
        (Owner("a", 0, promotions=1, parked=7), 7, 0),
    ],
)
def test_when_an_owner_is_promoted(owner: Owner, escrow: int, due: int) -> None:
    assert ECONOMY.promotion_due(owner, escrow, 7 * DAY_US) == due


@pytest.mark.parametrize(
    ("owner", "trusted"),
    [
        (Owner("a", 0), False),
        (Owner("a", 0, promotions=1), True),
        (Owner("a", 0, promotions=1, strikes=5), False),
        (Owner("a", 0, promotions=1, decree=False), False),
        (Owner("a", 0, strikes=9, decree=True), True),
    ],
)
def test_who_is_trusted(owner: Owner, trusted: bool) -> None:
    assert ECONOMY.trusted(owner) is trusted


@pytest.mark.parametrize(
    ("models", "permille", "sharers", "mkudos"),
    [
        (0, 1000, 1, 0),
        (1, 1000, 1, 52_000),
        (10, 1000, 1, 70_000),
        (30, 1000, 1, 70_000),
        (10_000, 1000, 1, 70_000),
        (1, 500, 1, 26_000),
        (1, 1000, 2, 35_000),
        (1, 100, 2, 3_500),
        (1, 1000, 1_000_000, 0),
    ],
)
def test_uptime_pays_for_models_in_demand_for_the_time_offered_and_a_fair_part(
    models: int, permille: int, sharers: int, mkudos: int
) -> None:
    assert ECONOMY.uptime_reward(models, permille, sharers) == pytest.approx(mkudos, abs=70)


def test_all_budgets_of_a_day_together_are_less_than_a_cheap_gpu_earns_by_painting() -> None:
    together = (
        ECONOMY.anonymous_budget_per_day_mkudos
        + ECONOMY.floor_budget_per_day_mkudos
        + ECONOMY.censor_budget_per_day_mkudos
        + ECONOMY.uptime_budget_per_day_mkudos
        + ECONOMY.rating_budget_per_day_mkudos
    )
    # 10.83 kudos for 50 steps of 512x512, two steps a second.
    assert together < 24 * 3600 * 10_830 // 25


@pytest.mark.parametrize(
    ("owner", "left"),
    [
        (None, 0),
        (Owner("a", 2 * DAY_US), 60_000),
        (Owner("a", 2 * DAY_US + 1), 0),
        (Owner("a", 0, day=3, subsidy_used=50_000), 10_000),
        (Owner("a", 0, day=3, subsidy_used=70_000), 0),
        (Owner("a", 0, day=2, subsidy_used=50_000), 60_000),
    ],
)
def test_the_floor_subsidy_is_for_accounts_of_some_age(owner: Owner | None, left: int) -> None:
    assert ECONOMY.floor_left(owner, 3 * DAY_US) == left
    assert Economy(floor_age_s=0).floor_left(None, 0) == 60_000


def test_nothing_in_the_economy_is_a_float() -> None:
    assert {type(getattr(ECONOMY, name)) for name in Economy.__dataclass_fields__} == {int, str}
