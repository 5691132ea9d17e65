"""What a rating earns, and what somebody is told whose ratings earn nothing. Pure."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID, uuid5

from horde.curation.core.rating import Answer, RatingRules, Record
from horde.curation.core.rating_agreement import misses, too_many


def rating_id(image_id: str, account_id: str) -> str:
    """Of one account's rating of one image: the ledger pays it once."""
    return str(uuid5(UUID(image_id), account_id))


def worth(record: Record, earned_today: int, rules: RatingRules, *, with_artifacts: bool) -> int:
    """What a rating earns by who gives it, in milli-kudos."""
    full = rules.reward_mkudos + (rules.artifacts_reward_mkudos if with_artifacts else 0)
    return max(0, min(math.ceil(full * record.weight), rules.account_bound_per_day_mkudos - earned_today))


def reward(answer: Answer, offered: int, rules: RatingRules) -> int:
    """What a rating earns by what it says: nothing if it misses an answer that is known."""
    return 0 if misses(answer, rules) else offered


def replaces(rated_at: datetime, now: datetime, rules: RatingRules) -> bool:
    """Whether a rating can still be replaced; by one that earns nothing."""
    return now - rated_at < rules.replace_within


def why_nothing(record: Record, earned_today: int, rules: RatingRules) -> str:
    """Why somebody's ratings earn nothing, and what would mend it; empty if they earn. For people."""
    if too_many(record.missed, record.golds, rules):
        return (
            f"Of {record.golds} images whose answer is known, yours was far off for {record.missed}. Look again at each"
            " image; once fewer of your last ratings are off, they earn again."
        )
    if not record.earns and record.checked < rules.new_until:
        return (
            f"{record.checked} of your ratings could be compared with others' so far. Go on: they begin to earn once"
            " it is plain that they go with what others see, mostly after about twenty."
        )
    if not record.earns:
        return (
            "Your ratings do not go with what others see in the same images, from the worst to the best. Use the whole "
            "scale, and look at each image; your last hundred ratings decide."
        )
    if earned_today >= rules.account_bound_per_day_mkudos:
        return "Today's bound is reached. Ratings count all the same, and earn again after midnight UTC."
    return ""
