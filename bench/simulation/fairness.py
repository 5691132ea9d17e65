"""Whether those who always wait get what their weights say."""

from __future__ import annotations

import random
from collections.abc import Callable

from simulation.mesh import Mesh
from simulation.trace import REGULAR, Ask, Painter, Trace
from simulation.world import World

PAINTERS = 10
ASKED_A_SECOND = 0.25
"""Pictures for each requester: more than it can be given."""


def jain(seconds: float = 3600.0) -> float:
    """Jain's index of service over weight: 12 requesters of unlike kudos, all of whom always have something waiting."""
    from horde.scheduler.core.shares import weight_of

    chance = random.Random(7)
    painters = [Painter(f"p{number}", chance.uniform(0.5, 2.0), ("model0",)) for number in range(PAINTERS)]
    balances = {f"user{number}": 10**number for number in range(6)} | {f"poor{number}": 0 for number in range(6)}
    asks = [
        Ask(index * len(balances) + number, 0.0, who, REGULAR, kudos, "model0", chance.choice((512, 768)), 20)
        for index in range(int(ASKED_A_SECOND * seconds))
        for number, (who, kudos) in enumerate(balances.items())
    ]
    make: Callable[..., World] = lambda trace: World(trace, Mesh)  # noqa: E731
    outcome = make(Trace(painters, asks, seconds)).play()
    shares = [outcome.served.get(who, 0.0) / weight_of(kudos * 1000) for who, kudos in balances.items()]
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
