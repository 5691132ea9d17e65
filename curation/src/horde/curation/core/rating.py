"""Ratings: the numbers of the rules, and what an image, an opinion and a rater are to them. Pure.

What is to be won is kudos, so the rules are made for people who want them without looking. Which image comes next is
`rating_choice`, whether somebody looks is `rating_agreement`, what it earns is `rating_reward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

LEAST_SCORE: Final = 1
MOST_SCORE: Final = 10
MOST_ARTIFACTS: Final = 5
KUDOS: Final = 1000
"""Milli-kudos in one kudos."""


@dataclass(frozen=True, slots=True)
class RatingRules:
    """Every number of the rules. All of them are this project's own, but where something else is said."""

    target: int = 5
    """Ratings that an image should get: the published set of AI Horde's ratings aims at the same."""
    gold_permille: int = 100
    """Of what is shown, images whose answer is known."""
    new_gold_permille: int = 400
    """The same for somebody of whom little is known yet."""
    """The rest is divided so that each image that is begun gets its others: see `begun_permille`."""
    skips_per_day: int = 50
    """After so many the one that was skipped is shown again: else one would skip until a known one comes."""

    least_look: timedelta = timedelta(seconds=1.5)
    """Faster nobody looks at a picture, judges it and answers."""
    replace_within: timedelta = timedelta(days=1)
    """So long a rating can be replaced. Afterwards it may be in a data release."""

    reward_mkudos: int = KUDOS
    """For a rating. AI Horde pays 5 kudos, and 5 more with artifacts; a picture of 512x512 in 50 steps costs 10.83."""
    artifacts_reward_mkudos: int = KUDOS // 2
    """... more, if it says how damaged the image is."""
    account_bound_per_day_mkudos: int = 100 * KUDOS
    """What one account earns in a UTC day. The ledger has a bound over everybody, and shares of it."""

    remembered: int = 100
    """Of somebody's ratings, the last so many that can be checked decide how much his word counts."""
    new_weight: float = 0.1
    """How much the word of somebody counts of whom nothing is known yet."""
    anchor_weight: float = 3.0
    """... and how much the word of a moderator or an operator, whatever the record: alone it makes a known answer."""
    new_until: int = 30
    """... and for how many checked ratings: whoever looks is known by then."""
    checking_weight: float = 0.5
    """Others' words on an image must come to this, so that a rating is checked against them: more than newcomers alone
    can bring, up to the target. So nobody becomes known by the word of accounts that he made himself, and a mesh begins
    with what its operators and moderators have rated."""
    gold_weight: float = 2.5
    """Words of people who are known must come to this, so that what they say together is a known answer."""
    gold_word: float = 0.5
    """... each by at least so much."""
    certainty: float = 2.6
    """Standard errors by which somebody's agreement with others must be above none. One in two hundred who never look
    passes it at a given moment, by luck and for a moment."""
    full_agreement: float = 0.3
    """The agreement (a correlation) that is certain from which on a word counts in full. People who look, and differ in
    taste, agree by 0.5 to 0.7 with the mean of some others."""
    clip: float = 2.0
    """Points by which an opinion may be away from the middle of all and count as it is."""

    gold_tolerance: float = 3.5
    """Points by which an answer may miss a known one."""
    gold_misses: int = 2
    """With so many missed ..."""
    gold_missed_share: float = 0.3
    """... and this share of those remembered, nothing counts and nothing is earned until there are fewer."""

    @property
    def begun_permille(self) -> int:
        """Of what is shown and no known answer, images that somebody has rated and that lack others. Were it always the
        one with the fewest ratings, then in a bucket of millions no two people would ever see the same one, and
        nobody's word could be checked; with this share each that is begun comes to its target."""
        return 1000 * (self.target - 1) // self.target


RULES: Final = RatingRules()


@dataclass(frozen=True, slots=True)
class Ratable:
    """A shared image as a candidate to be shown."""

    image_id: str
    requester: str
    """A digest of whose it is."""
    ratings: int
    """How many it has, not counting those of people whose word weighs nothing."""
    painter: str = ""
    """A digest of the account whose worker painted it; empty: not known."""
    answer: float | None = None
    """What it is known to be worth."""
    published: bool = False
    """A data release tells what others said of it."""


@dataclass(frozen=True, slots=True)
class Rater:
    """Who rates, and what must not be shown to him."""

    account_id: str
    as_requester: str
    """The digest that stands in records of images that the account asked for."""
    as_painter: str = ""
    """The digest that stands in records of images that its workers painted."""

    def may_rate(self, image: Ratable) -> bool:
        """Neither asked for nor painted by the account itself."""
        return image.requester != self.as_requester and not (image.painter and image.painter == self.as_painter)


@dataclass(frozen=True, slots=True)
class Shown:
    """What an account is looking at."""

    image_id: str
    shown_at: datetime
    known: float | None = None
    """The answer, if it was known then."""

    def too_early(self, now: datetime, rules: RatingRules) -> timedelta:
        """For how long nobody can have looked yet; zero: long enough."""
        return max(timedelta(0), self.shown_at + rules.least_look - now)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody else says of an image, and how much his word counts."""

    score: int
    weight: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One of a rater's own ratings, beside what is known of the image without him."""

    score: int
    others: tuple[Opinion, ...]
    known: float | None = None
    """The answer, if it was known when the image was shown: a question to the rater rather than to the world."""


@dataclass(frozen=True, slots=True)
class Record:
    """How somebody's ratings stand to others'."""

    checked: int = 0
    """Of the remembered ratings, how many could be compared."""
    agreement: float = 0.0
    """The correlation with what others say, -1 to 1."""
    certain: float = 0.0
    """The agreement that is certain: the lower end of what it may be."""
    golds: int = 0
    missed: int = 0
    """Of the remembered questions with a known answer."""
    weight: float = 0.0
    """How much the word counts, 0 to 1, and what part of the reward it earns."""

    @property
    def earns(self) -> bool:
        return self.weight > 0


@dataclass(frozen=True, slots=True)
class RaterState:
    """What is kept of somebody who rates."""

    account_id: str
    record: Record = Record()
    looking_at: Shown | None = None
    skipped: tuple[str, ...] = ()
    """Today."""
    skipped_on: date = date.min
    earned_today: int = 0
    """Milli-kudos, by the UTC day that was asked for."""
    ratings: int = 0
    counted: int = 0

    def skipped_today(self, now: datetime) -> tuple[str, ...]:
        return self.skipped if self.skipped_on == now.date() else ()


@dataclass(frozen=True, slots=True)
class Rating:
    """What somebody thinks of an image."""

    image_id: str
    account_id: str
    score: int
    artifacts: int | None
    rated_at: datetime
    earned_mkudos: int = 0
    counted: bool = False
    """The rater's word weighed something."""

    def says_the_same(self, score: int, artifacts: int | None) -> bool:
        return (self.score, self.artifacts) == (score, artifacts)


@dataclass(frozen=True, slots=True)
class Due:
    """A reward that the ledger has not answered for yet."""

    image_id: str
    account_id: str
    amount_mkudos: int
