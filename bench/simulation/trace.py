"""Who asks for what, and who paints: the same for every policy, from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

MODELS = 20
"""Popular by Zipf's law, as on disk so in demand."""
SWAP_SECONDS = 12.0
"""To load another model."""
USERS = 200
SIDES = (512, 512, 512, 640, 768, 1024)
REGULAR, HEAVY, ANONYMOUS = "ordinary", "heavy", "anonymous"


@dataclass(frozen=True, slots=True)
class Painter:
    """One worker."""

    name: str
    seconds: float
    """For a megapixel-step."""
    models: tuple[str, ...]
    """On its disk."""
    away: tuple[tuple[float, float], ...] = ()
    """When it is not here: from, until; seconds."""


@dataclass(slots=True)
class Ask:
    """One picture that somebody asks for."""

    number: int
    at: float
    """Seconds."""
    who: str
    kind: str
    kudos: int
    model: str
    side: int
    steps: int
    begun: float | None = None
    done: float | None = None
    promised: tuple[float, float] | None = None
    """Waits of the estimate at `at`: p50, p90; seconds."""

    @property
    def work(self) -> float:
        """Megapixel-steps."""
        return self.side * self.side * self.steps / 1e6


@dataclass
class Trace:
    """A fleet and what is asked of it."""

    painters: list[Painter]
    asks: list[Ask]
    seconds: float


def popularity() -> list[float]:
    return [1 / (1 + number) for number in range(MODELS)]


def make_trace(seed: int, load: float, painters: int, seconds: float) -> Trace:
    """A trace whose work is `load` times what the fleet can paint if it never loads another model."""
    chance = random.Random(seed)
    models = [f"model{number}" for number in range(MODELS)]
    fleet = []
    for number in range(painters):
        on_disk = dict.fromkeys(chance.choices(models, popularity(), k=chance.randint(3, 7)))
        away: tuple[tuple[float, float], ...] = ()
        if number % 6 == 0:
            gone = chance.uniform(0.1, 0.7) * seconds
            away = ((gone, gone + chance.uniform(0.05, 0.2) * seconds),)
        fleet.append(Painter(f"p{number}", chance.lognormvariate(math.log(0.9), 0.5), tuple(on_disk), away))
    offered = {model for painter in fleet for model in painter.models}
    rate = load * sum(1 / painter.seconds for painter in fleet)
    return Trace(fleet, list(_asks(chance, rate, seconds, sorted(offered))), seconds)


def _asks(chance: random.Random, rate: float, seconds: float, offered: list[str]) -> Iterator[Ask]:
    """Poisson arrivals whose rate goes up and down by a third, as day and night do."""
    mean_work = sum(side * side for side in SIDES) / len(SIDES) * 25 / 1e6
    often = rate / mean_work
    weights = [1 / (1 + int(name.removeprefix("model"))) for name in offered]
    balances = [round(10 ** chance.uniform(1, 4)) for _ in range(USERS)]
    at, number = 0.0, 0
    while True:
        at += chance.expovariate(often * 4 / 3)
        if at >= seconds:
            return
        if chance.random() > 0.75 * (1 + math.sin(2 * math.pi * at / seconds * 2) / 3):
            continue
        number += 1
        draw = chance.random()
        user = chance.randrange(USERS)
        if draw < 0.35:
            who, kind, kudos = f"anonymous/{chance.randrange(40)}", ANONYMOUS, -50
        elif draw < 0.60:
            who, kind, kudos = "heavy", HEAVY, 1_000_000
        else:
            who, kind, kudos = f"user{user}", REGULAR, balances[user]
        yield Ask(
            number, at, who, kind, kudos, chance.choices(offered, weights)[0], chance.choice(SIDES),
            chance.randint(15, 35),
        )  # fmt: skip
