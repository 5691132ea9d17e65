"""Whether somebody looks at what he rates: by how far his ratings go with those of others. Pure.

What counts is agreement from image to image, as a correlation. Distance from the mean would not do: who always says
what is usual is near everybody and knows nothing, and his correlation is nothing (as in the peer predictions of
Dasgupta and Ghosh, 2013, and Shnayder et al., 2016: agreement on one image, less agreement on any two). A harsh rater
and a mild one may both be right. Others' words count by their own records, so many new accounts of one person are no
crowd: an operator's own ratings are the first questions whose answer is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from horde.curation.core.rating import Answer, Opinion, RatingRules, Record

LEAST_PAIRS: Final = 4
"""Fewer say nothing of a correlation: its standard error is 1 / sqrt(n - 3)."""
MOST_CORRELATION: Final = 0.999


def consensus(opinions: Sequence[Opinion], rules: RatingRules) -> float | None:
    """What people say of an image, robustly: the weighted mean, of which nobody moves more than he would from `clip`
    points beside the weighted median. None where too few words count."""
    heard = sorted((opinion for opinion in opinions if opinion.weight > 0), key=lambda opinion: opinion.score)
    total = sum(opinion.weight for opinion in heard)
    # As a sum of decimals: three newcomers of 0.1 are 0.30000000000000004.
    if round(total, 6) < rules.checking_weight:
        return None
    middle = _median(heard, total)
    low, high = middle - rules.clip, middle + rules.clip
    return sum(opinion.weight * min(max(opinion.score, low), high) for opinion in heard) / total


def _median(heard: Sequence[Opinion], total: float) -> float:
    below = 0.0
    for place, opinion in enumerate(heard):
        below += opinion.weight
        if math.isclose(below, total / 2) and place + 1 < len(heard):
            return (opinion.score + heard[place + 1].score) / 2
        if below > total / 2:
            return opinion.score
    return heard[-1].score


def known_answer(opinions: Sequence[Opinion], rules: RatingRules) -> float | None:
    """What people who are known agree an image is worth; None where there are too few of them."""
    known = [opinion for opinion in opinions if opinion.weight >= rules.gold_word]
    if sum(opinion.weight for opinion in known) < rules.gold_weight:
        return None
    return consensus(known, rules)


def judge(answers: Iterable[Answer], rules: RatingRules) -> Record:
    """The record of a rater, from his last ratings, newest first."""
    pairs: list[tuple[float, float]] = []
    golds = missed = 0
    for answer in answers:
        if len(pairs) == rules.remembered:
            break
        others = answer.known
        if others is None:
            others = consensus(answer.others, rules)
        else:
            golds += 1
            missed += misses(answer, rules)
        if others is not None:
            pairs.append((answer.score, others))
    agreement = correlation(pairs)
    certain = _certain(agreement, len(pairs), rules.certainty)
    weight = 0.0 if too_many(missed, golds, rules) else min(1.0, max(0.0, certain / rules.full_agreement))
    return Record(len(pairs), agreement, certain, golds, missed, weight)


def too_many(missed: int, golds: int, rules: RatingRules) -> bool:
    """Whether so many known answers were missed that nothing counts."""
    return missed >= rules.gold_misses and missed >= golds * rules.gold_missed_share


def misses(answer: Answer, rules: RatingRules) -> bool:
    """Whether an answer is far from the known one, if one is known."""
    return answer.known is not None and abs(answer.score - answer.known) > rules.gold_tolerance


def word_weight(record: Record, rules: RatingRules, *, anchor: bool = False) -> float:
    """How much a word counts to others: by the record, and a little while nothing can be known. `anchor`: of a
    moderator or an operator."""
    if anchor:
        return rules.anchor_weight
    if record.checked < rules.new_until and not too_many(record.missed, record.golds, rules):
        return max(record.weight, rules.new_weight)
    return record.weight


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's, 0 where one of the two never changes."""
    if len(pairs) < LEAST_PAIRS:
        return 0.0
    mean_a = math.fsum(a for a, _ in pairs) / len(pairs)
    mean_b = math.fsum(b for _, b in pairs) / len(pairs)
    both = math.fsum((a - mean_a) * (b - mean_b) for a, b in pairs)
    spread = math.sqrt(math.fsum((a - mean_a) ** 2 for a, _ in pairs)) * math.sqrt(
        math.fsum((b - mean_b) ** 2 for _, b in pairs)
    )
    return 0.0 if spread < 1e-9 else max(-1.0, min(1.0, both / spread))


def _certain(agreement: float, pairs: int, certainty: float) -> float:
    """The lower end of what the agreement may be, by Fisher's transformation."""
    if pairs < LEAST_PAIRS:
        return 0.0
    z = math.atanh(max(-MOST_CORRELATION, min(MOST_CORRELATION, agreement)))
    return math.tanh(z - certainty / math.sqrt(pairs - 3))
