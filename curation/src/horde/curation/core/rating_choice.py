"""Which image somebody is shown next. Pure: candidates in, one out; chance is handed in.

Most candidates lack ratings; some of what is shown is a question whose answer is known. To who rates they look alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from random import Random

from horde.curation.core.rating import Ratable, Rater, RatingRules, Record


class Kind(Enum):
    """Why an image is shown."""

    FRESH = "fresh"
    """Nobody has rated it."""
    BEGUN = "begun"
    """Somebody has, and it lacks others: so each image gets enough, and each rater is checked."""
    GOLD = "gold"
    """Its answer is known."""


def order_of_kinds(record: Record, chance: Random, rules: RatingRules) -> tuple[Kind, Kind, Kind]:
    """Which kind to look for first, and which where there is none of it."""
    new = record.checked < rules.new_until
    if chance.randrange(1000) < (rules.new_gold_permille if new else rules.gold_permille):
        return Kind.GOLD, Kind.BEGUN, Kind.FRESH
    if chance.randrange(1000) < rules.begun_permille:
        return Kind.BEGUN, Kind.FRESH, Kind.GOLD
    return Kind.FRESH, Kind.BEGUN, Kind.GOLD


def pick(
    kind: Kind,
    candidates: Sequence[Ratable],
    rater: Rater,
    passed: AbstractSet[str],
    chance: Random,
    rules: RatingRules,
) -> Ratable | None:
    """One of these candidates: neither the rater's own nor `passed` (rated or skipped by him), nor published, nor with
    enough ratings already; by chance among all that are as good, of images that are not begun those with the fewest
    ratings."""
    fit = [
        image
        for image in candidates
        if image.image_id not in passed
        and rater.may_rate(image)
        and not image.published
        and (kind is Kind.GOLD or image.ratings < rules.target)
        and (kind is not Kind.BEGUN or image.ratings)
    ]
    if not fit:
        return None
    if kind is not Kind.FRESH:
        return chance.choice(fit)
    fewest = min(image.ratings for image in fit)
    return chance.choice([image for image in fit if image.ratings == fewest])
