"""The rules of the economy that are numbers, as one value with a version, and what follows from them. Pure.

Where a number comes from is said beside it. "AI Horde" means what is publicly known of the system that this one is
modelled on. What one picture costs: 512x512 in 50 steps is 10.83 kudos by the published formula, and 3 of tax, or 1
when shared. All days are UTC days of the ledger's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from horde.ledger.core.accounts import DAY_US, Owner

KUDOS: Final = 1000
"""Milli-kudos in one kudos."""


@dataclass(frozen=True, slots=True)
class Economy:
    """Every number of the economy. Amounts are in milli-kudos. Change one, and change `version` too."""

    version: str = "2026-11-26"

    floor_mkudos: int = 0
    """Below this nobody spends. AI Horde stops at 25 registered and -50 anonymous, and mints what is missing, silently
    and without an end. Here all that somebody has is his to spend, and what is missing is taken from the floor
    subsidy, visibly and up to the allowance. Anonymous has no balance at all."""

    floor_allowance_per_day_mkudos: int = 60 * KUDOS
    """What the floor subsidy adds for one account in a day: four private pictures of 13.83, so that somebody who has
    just registered can paint a few, today and every day. Own rule, in place of AI Horde's unbounded forgiveness."""

    floor_age_s: int = 86_400
    """... and for accounts of this age alone: names are free, so puppets would be. Own rule."""
    floor_budget_per_day_mkudos: int = 5_000 * KUDOS
    """... and to all accounts together, in a day."""
    floor_address_share_permille: int = 100
    """... of which an address has this share, where it is told."""

    anonymous_budget_per_day_mkudos: int = 20_000 * KUDOS
    """What all anonymous requests may cost the anonymous subsidy in a day: about 1,700 shared pictures. Own rule; AI
    Horde's anonymous account just sinks."""
    anonymous_address_share_permille: int = 50
    """The share of one address (a /24 or /56) in what is free of it: alone it gets 952 of 20,000 kudos, a hundred that
    want everything get five sixths, and the next one still has 166. Own rule."""
    anonymous_token_share_permille: int = 25
    """The same of one token."""
    small_share_mkudos: int = 30 * KUDOS
    """What anybody may draw of a budget however small his share has become, as long as there is any."""

    censor_budget_per_day_mkudos: int = 1_000 * KUDOS
    """What is paid for pictures that workers' checkers withheld, over everybody in a day: nothing shows that they were
    painted. Own rule; AI Horde pays them all, and mints it."""
    censor_owner_share_permille: int = 100
    """The share of one owner in what is free of it: at most 90 kudos."""
    censor_payer_share_permille: int = 100
    """The same of one account that asked: else one puppet would feed any number of owners."""

    cancelled_earning_per_day_mkudos: int = 1_000 * KUDOS
    """What cancelled jobs pay one owner in a day: a hundred pictures, almost painted. They pass no tax and no limit on
    gifts, so they must not be a way around both. Own rule."""

    check_budget_per_day_mkudos: int = 1_000 * KUDOS
    """What the mesh spends in a day to have pictures painted a second time, by somebody trusted, and compared: eighty
    of 512x512 in 50 steps. It is earned by painting alone. Own rule."""
    check_owner_share_permille: int = 100
    """The share of one owner whose work is looked at in what is free of it: else one newcomer with many machines would
    leave nothing to look at the next one's."""

    subsidised_earning_per_day_mkudos: int = 2_000 * KUDOS
    """What the subsidies together (anonymous, floor, censor) pay one owner in a day before the rest is parked in
    escrow: a tenth of the anonymous budget, 83 kudos an hour, so that asking for pictures oneself, without name, by
    many names, or to have them censored, and painting them oneself, is not worth it. Own rule, from design.md 5."""

    escrow_numerator: int = 1
    escrow_denominator: int = 2
    """Of what a new owner earns by painting, the half waits in escrow (AI Horde; design.md 5)."""

    promotion_escrow_mkudos: int = 5_000 * KUDOS
    """An owner is trusted once this waits in escrow: about 900 pictures. AI Horde's value is not public (its sample
    says 1, its tests 100)."""
    promotion_age_us: int = 7 * DAY_US
    """... and the account is a week old (AI Horde)."""
    strikes_limit: int = 5
    """... and it has fewer strikes than this (AI Horde: fewer than five suspicions). Reaching it ends trust."""

    uptime_bucket_s: int = 600
    """Uptime is paid for whole buckets of ten minutes (AI Horde: each 600 s)."""
    uptime_base_mkudos: int = 50 * KUDOS
    """For a bucket (AI Horde: 50)."""
    uptime_per_model_mkudos: int = 2 * KUDOS
    """For each model offered (AI Horde: 2)."""
    uptime_models_counted: int = 30
    """... up to this many. AI Horde counts all that are claimed; a worker that claims ten thousand should not mint by
    it."""
    uptime_budget_per_day_mkudos: int = 10_080 * KUDOS
    """What uptime pays over everybody in a day, 70 kudos for each bucket: a thank-you to a small mesh, and to a large
    one next to nothing, as what is painted pays. All budgets of a day together are 37,080 kudos, 1,545 an hour: less
    than a cheap GPU earns by painting (two steps a second at 512x512: 1,560). So whoever took all of them, by whatever
    farm, would be better off painting; raise them with what your mesh burns. Own rule."""
    uptime_owner_share_permille: int = 1_000
    """The share of one owner in what is free of it: at most the half, 5,040 kudos."""

    rating_budget_per_day_mkudos: int = 1_000 * KUDOS
    """What ratings of shared images earn over everybody in a day: about a thousand of them. AI Horde pays 5 kudos each,
    without a bound over all. Own rule."""
    rating_account_share_permille: int = 200
    """The share of one account in what is free of it: at most 166 kudos."""

    gift_min_mkudos: int = KUDOS
    """The smallest gift (AI Horde: whole kudos, more than none)."""
    gifts_per_day: int = 90
    """Gifts of one account in a day. AI Horde: 90 an hour, one a second, for each key."""
    gift_per_day_mkudos: int = 1_000_000 * KUDOS
    """What one account gives in a day. Own rule: a stolen key should not empty a large account in one go."""
    gift_back_after_us: int = 60_000_000
    """A gift to somebody who gave in the last 60 s is refused (AI Horde): nobody plays ping-pong with kudos."""

    def trusted(self, owner: Owner) -> bool:
        """Whether all that an owner earns is his at once."""
        if owner.decree is not None:
            return owner.decree
        return owner.promotions > 0 and owner.strikes < self.strikes_limit

    def promotion_due(self, owner: Owner, escrow_mkudos: int, now_us: int) -> int:
        """How many milli-kudos move from escrow to spend because the owner is trusted, or becomes so now; 0: none.

        What is parked neither counts nor moves: else one could become trusted by painting one's own anonymous requests.
        """
        free = escrow_mkudos - owner.parked
        if free <= 0 or owner.decree is False or owner.strikes >= self.strikes_limit:
            return 0
        if owner.promotions or owner.decree:
            return free
        old = now_us - owner.opened_us >= self.promotion_age_us
        return free if old and free >= self.promotion_escrow_mkudos else 0

    def uptime_reward(self, models: int, offered_permille: int = 1000, sharers: int = 1) -> int:
        """What ten minutes of readiness earn: for models that were in demand, for the part of the time in which they
        were offered, and no more than a fair part of what the day's budget has for these ten minutes."""
        if models < 1:
            return 0
        full = self.uptime_base_mkudos + self.uptime_per_model_mkudos * min(models, self.uptime_models_counted)
        fair = self.uptime_budget_per_day_mkudos * self.uptime_bucket_s // (DAY_US // 1_000_000) // sharers
        return min(full, fair) * offered_permille // 1000

    def floor_left(self, owner: Owner | None, now_us: int) -> int:
        """What the floor subsidy would still add for an account today, as far as its own bounds go."""
        if owner is None:
            return 0 if self.floor_age_s else self.floor_allowance_per_day_mkudos
        if now_us - owner.opened_us < self.floor_age_s * 1_000_000:
            return 0
        used = owner.subsidy_used if owner.day == day_of(now_us) else 0
        return max(0, self.floor_allowance_per_day_mkudos - used)

    def split_earning(self, earned: int, subsidised: int, subsidised_today: int, trusted: bool) -> Split:
        """Divide what a job earned: `subsidised` of it is paid by a subsidy, `subsidised_today` was before it.

        Over the daily bound all is parked; of the rest a new owner gets the half, rounded down, at once.
        """
        within = max(0, self.subsidised_earning_per_day_mkudos - subsidised_today)
        parked = max(0, subsidised - within)
        free = earned - parked
        waits = (
            0 if trusted else free - free * (self.escrow_denominator - self.escrow_numerator) // self.escrow_denominator
        )
        return Split(to_spend=free - waits, to_escrow=waits + parked, parked=parked)


class Split(NamedTuple):
    """How an earning is divided, in milli-kudos; `parked` is part of `to_escrow`."""

    to_spend: int
    to_escrow: int
    parked: int


def day_of(now_us: int) -> int:
    """The UTC day, counted from 1970."""
    return now_us // DAY_US
