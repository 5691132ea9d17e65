"""What raters say made into one number, how well anybody could foretell it, and a linear predictor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.data_releases.core.ridge import fit, measure
from horde.data_releases.core.targets import Floats, Targets, ceiling, find_targets


def rated(images: int, raters: int, each: int, noise: float, seed: int) -> tuple[Floats, Targets]:
    """True worth and targets, where every image is rated by `each` people who have levels of their own."""
    chance = np.random.default_rng(seed)
    true = chance.normal(5.5, 1.5, images)
    level = chance.normal(0, 1, raters)
    image = np.repeat(np.arange(images), each)
    rater = np.concatenate([chance.choice(raters, each, replace=False) for _ in range(images)])
    score = true[image] + level[rater] + chance.normal(0, noise, len(image))
    return true, find_targets(image, rater, score, np.ones(len(image)))


@pytest.mark.parametrize(("each", "noise"), [(3, 0.5), (3, 1.5), (5, 1.5), (5, 3.0)])
def test_the_ceiling_is_the_correlation_of_the_truth_with_what_raters_say(each: int, noise: float) -> None:
    true, targets = rated(2_000, 40, each, noise, 1)
    assert targets.chance == pytest.approx(noise**2, rel=0.1)
    assert ceiling(targets, np.arange(2_000)) == pytest.approx(np.corrcoef(true, targets.worth)[0, 1], abs=0.02)


def test_a_harsh_raters_level_is_not_an_images_worth() -> None:
    true, targets = rated(500, 10, 3, 0.3, 2)
    assert np.corrcoef(true, targets.worth)[0, 1] > 0.97


def test_what_is_all_chance_has_no_ceiling() -> None:
    chance = np.random.default_rng(1)
    image = np.repeat(np.arange(300), 4)
    targets = find_targets(image, chance.integers(0, 20, 1_200), chance.normal(5, 2, 1_200), np.ones(1_200))
    assert ceiling(targets, np.arange(300)) < 0.3


@given(st.integers(0, 2**32 - 1))
def test_a_predictor_finds_what_is_linear_and_nothing_in_noise(seed: int) -> None:
    chance = np.random.default_rng(seed)
    features = chance.normal(0, 1, (300, 20))
    slope = chance.normal(0, 1, 20)
    worth = features @ slope
    group = np.arange(300)
    head = fit(features[:200], worth[:200], np.ones(200), group[:200])
    assert measure(head.predict(features[200:]), worth[200:]).pearson > 0.99
    nothing = fit(features[:200], chance.normal(0, 1, 200), np.ones(200), group[:200])
    assert measure(nothing.predict(features[200:]), worth[200:]).error < 10 * np.std(worth)


def test_the_same_numbers_give_the_same_predictor() -> None:
    chance = np.random.default_rng(1)
    features, worth = chance.normal(0, 1, (100, 5)), chance.normal(0, 1, 100)
    one, other = (fit(features, worth, np.ones(100), np.arange(100)) for _ in range(2))
    assert one.penalty == other.penalty
    assert np.array_equal(one.slope, other.slope)


def test_ranks_of_equals_are_their_mean_and_what_never_changes_goes_with_nothing() -> None:
    assert measure(np.array([1.0, 2, 2, 3]), np.array([10.0, 20, 20, 99])).spearman == pytest.approx(1)
    assert measure(np.array([3.0, 2, 1]), np.array([1.0, 2, 9])).spearman == pytest.approx(-1)
    flat = measure(np.array([5.0, 5, 5]), np.array([1.0, 2, 9]))
    assert (flat.pearson, flat.spearman) == (0, 0)
