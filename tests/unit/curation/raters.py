"""A world of people and farms that rate, in virtual time, on the cores of curation and ledger: what each earns."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from horde.curation.core.rating import Answer, Opinion, Ratable, Rater, RatingRules, Record
from horde.curation.core.rating_agreement import consensus, judge, known_answer, word_weight
from horde.curation.core.rating_choice import Kind, order_of_kinds, pick
from horde.curation.core.rating_reward import rating_id, reward, worth
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import Entry
from horde.ledger.core.identifiers import rating_event_id
from horde.ledger.core.operations import Event, RewardRating
from horde.testkit.ledger import PureLedger

LOOK = 20
"""Candidates that are looked at."""
OPERATOR = "operator"


@dataclass(eq=False)
class Image:
    """A picture, how good it is (0 is usual, 1 a standard deviation better), and what was said of it."""

    image_id: str
    quality: float
    scores: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    """Ratings by those whose word weighs something."""
    public: int | None = None
    """What a data release tells of it."""


Answering = Callable[[Image, str, Random], int]
"""What somebody answers: the image, with which account, by what chance."""


@dataclass(frozen=True)
class Party:
    """Who rates: with how many accounts, how fast, and how."""

    name: str
    accounts: tuple[str, ...]
    seconds: tuple[float, float]
    """From one answer to the next of one account, at least and at most."""
    answer: Answering


def within(score: float) -> int:
    """On the scale."""
    return max(1, min(10, round(score)))


def person(taste: float, noise: float = 1.4) -> Answering:
    """Somebody who looks: sees quality, has a level of his own and changes his mind."""
    return lambda image, account, chance: within(5.5 + taste + 1.6 * image.quality + chance.gauss(0, noise))


def constant(image: Image, account: str, chance: Random) -> int:
    """Always the same."""
    return 6


def dice(image: Image, account: str, chance: Random) -> int:
    """Anything."""
    return chance.randint(1, 10)


def guessed_mean(image: Image, account: str, chance: Random) -> int:
    """What most images get, moved a little so that it looks like somebody."""
    return within(chance.gauss(5.5, 0.8))


def ring(image: Image, account: str, chance: Random) -> int:
    """What all accounts of one farm agree on: a number made of the image's id."""
    return UUID(image.image_id).int % 10 + 1


def predictor(image: Image, account: str, chance: Random) -> int:
    """A poor predictor, all of whose errors are of its own: half of what it says is quality."""
    return within(5.5 + 1.1 * image.quality + 1.1 * Random(image.image_id).gauss(0, 1))


def looked_up(image: Image, account: str, chance: Random) -> int:
    """What the last data release says others said, wherever it does."""
    return dice(image, account, chance) if image.public is None else image.public


FARMS: dict[str, Answering] = {
    "constant": constant,
    "random": dice,
    "guessed mean": guessed_mean,
    "looked up": looked_up,
}
"""Those that must not pay."""


class World:
    """Images, parties, and the rules between them."""

    def __init__(self, images: int, seed: int, rules: RatingRules, economy: Economy, *, known: int) -> None:
        self.rules = rules
        self.chance = Random(seed)
        self.images = {
            image_id: Image(image_id, self.chance.gauss(0, 1))
            for image_id in (str(UUID(int=self.chance.getrandbits(128), version=4)) for _ in range(images))
        }
        self.ledger = PureLedger(economy)
        self.gold: dict[str, float] = {}
        self.weights: defaultdict[str, float] = defaultdict(lambda: rules.new_weight)
        self.answers: defaultdict[str, list[tuple[Image, int, float | None]]] = defaultdict(list)
        self.records: dict[str, Record] = {}
        self.earned: Counter[str] = Counter()
        self._fresh = list(self.images.values())
        self._begun: list[Image] = []
        self._golden: list[Image] = []
        self.weights[OPERATOR] = 1.0
        look = person(0.0, 0.7)
        for image in self.chance.sample(self._fresh, known):
            score = look(image, OPERATOR, self.chance)
            image.counted = rules.target
            image.scores[OPERATOR] = score
            self.gold[image.image_id] = score
            # Of every second one a release tells what was said.
            image.public = score if len(self._golden) % 2 else None
            self._golden.append(image)
            self._fresh.remove(image)

    def run(self, parties: Sequence[Party], hours: float) -> dict[str, float]:
        """Kudos an hour of each party, over all its accounts, if they all rate for so long."""
        due = [(self.chance.uniform(*party.seconds), account, party) for party in parties for account in party.accounts]
        heapq.heapify(due)
        while due and due[0][0] < hours * 3600:
            now_s, account, party = heapq.heappop(due)
            if self._rate(account, party):
                after = now_s + max(self.rules.least_look.total_seconds(), self.chance.uniform(*party.seconds))
                heapq.heappush(due, (after, account, party))
        return {
            party.name: sum(self.ledger.spend(account) for account in party.accounts) / 1000 / hours
            for party in parties
        }

    def error(self) -> float:
        """How far the robust consensus of all is from what the images are worth: the root of the mean square."""
        said = [
            (consensus([Opinion(score, self.weights[who]) for who, score in image.scores.items()], self.rules), image)
            for image in self.images.values()
            if len(image.scores) >= 3
        ]
        told = [(mean - 5.5 - 1.6 * image.quality) ** 2 for mean, image in said if mean is not None]
        return float((sum(told) / len(told)) ** 0.5)

    def _rate(self, account: str, party: Party) -> bool:
        shown = self._next(account)
        if shown is None:
            return False
        kind, image = shown
        known = self.gold.get(image.image_id) if kind is Kind.GOLD else None
        record = self.records.get(account, Record())
        offered = worth(record, self.earned[account], self.rules, with_artifacts=False)
        score = party.answer(image, account, self.chance)
        paid = reward(Answer(score, (), known), offered, self.rules)
        image.scores[account] = score
        if self.weights[account] > 0:
            image.counted += 1
            if image.counted == 1:
                self._fresh.remove(image)
                self._begun.append(image)
            elif image.counted == self.rules.target:
                self._begun.remove(image)
                self._learn(image)
        self.answers[account].append((image, score, known))
        if paid:
            about = rating_id(image.image_id, account)
            (answer,) = self.ledger.apply(Event(rating_event_id(about), RewardRating(account, about, paid)))
            # Else the day's budget, or the account's share of it, is spent.
            if isinstance(answer.result, Entry):
                self.earned[account] += paid
        # Every time is what the service does; every fifth is enough here, and five times as fast.
        if len(self.answers[account]) % 5 == 0:
            self._judge(account)
        return True

    def _next(self, account: str) -> tuple[Kind, Image] | None:
        rater = Rater(account, account)
        for kind in order_of_kinds(self.records.get(account, Record()), self.chance, self.rules):
            among = {Kind.FRESH: self._fresh, Kind.BEGUN: self._begun, Kind.GOLD: self._golden}[kind]
            looked_at = self.chance.sample(among, min(LOOK, len(among)))
            candidates = [
                Ratable(image.image_id, "", image.counted, published=image.public is not None) for image in looked_at
            ]
            passed = {image.image_id for image in looked_at if account in image.scores}
            found = pick(kind, candidates, rater, passed, self.chance, self.rules)
            if found is not None:
                return kind, self.images[found.image_id]
        return None

    def _learn(self, image: Image) -> None:
        answer = known_answer([Opinion(score, self.weights[who]) for who, score in image.scores.items()], self.rules)
        if answer is not None:
            self.gold[image.image_id] = answer
            self._golden.append(image)

    def _judge(self, account: str) -> None:
        answers = [
            Answer(
                score,
                tuple(Opinion(score, self.weights[who]) for who, score in image.scores.items() if who != account),
                known,
            )
            for image, score, known in reversed(self.answers[account][-2 * self.rules.remembered :])
        ]
        self.records[account] = record = judge(answers, self.rules)
        self.weights[account] = word_weight(record, self.rules)


def people(count: int, chance: Random) -> list[Party]:
    """Honest raters, each with one account, who take three to ten seconds."""
    return [Party(f"person {n}", (f"person{n}",), (3.0, 10.0), person(chance.gauss(0, 0.7))) for n in range(count)]


def farm(name: str, answer: Answering, accounts: int) -> Party:
    """A farm: so many accounts, each as fast as it can."""
    return Party(name, tuple(f"{name.replace(' ', '-')}{n}" for n in range(accounts)), (1.5, 1.7), answer)


def earned(
    answer: Answering | None,
    accounts: int,
    hours: float,
    seed: int,
    *,
    humans: int,
    known: int = 120,
    bounded: bool = False,
) -> tuple[float, float, float]:
    """Kudos an hour of a farm and of a person beside it, and the error of what the images are said to be worth.

    Unless `bounded`, no day's bound and no budget is in the way: what is earned is by the rules on looking alone.
    """
    rules = RatingRules() if bounded else RatingRules(account_bound_per_day_mkudos=10**9)
    economy = Economy()
    if not bounded:
        economy = Economy(rating_budget_per_day_mkudos=10**12, rating_account_share_permille=1000)
    world = World(20_000, seed, rules, economy, known=known)
    honest = people(humans, world.chance)
    parties = [*honest, *([farm("farm", answer, accounts)] if answer is not None else [])]
    told = world.run(parties, hours)
    return told.get("farm", 0.0), sum(told[each.name] for each in honest) / len(honest), world.error()
