"""What a requester could ask for otherwise, to wait less or to pay less, and which of that is worth saying."""

from __future__ import annotations

import math
from dataclasses import dataclass

MULTIPLE = 64
"""Pixels that a proposed side is a multiple of: what every model can paint."""
SMALLEST = 256 * 256
"""Pixels below which nothing smaller is proposed."""
FEWEST_STEPS = 10
MAX_CHANGES = 8
SOONER = 0.8
"""A wait counts as shorter if it is at most this part of the other, and by two seconds at least."""
SOONER_BY = 2.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What something would cost and when it would begin."""

    total_mkudos: int
    seconds: float | None
    """Until half of the time it is begun. None: nobody here could do it."""

    def sooner_than(self, other: Offer) -> bool:
        """Whether it would begin clearly sooner."""
        if self.seconds is None:
            return False
        if other.seconds is None:
            return True
        return self.seconds <= min(SOONER * other.seconds, other.seconds - SOONER_BY)


def smaller(width: int, height: int) -> tuple[int, int] | None:
    """A size of about half the pixels and the same shape; None where it is small already."""
    if width * height <= SMALLEST:
        return None
    sides = [max(MULTIPLE, int(side / math.sqrt(2) / MULTIPLE) * MULTIPLE) for side in (width, height)]
    return (sides[0], sides[1]) if sides[0] * sides[1] < width * height else None


def fewer_steps(steps: int) -> int | None:
    """About two thirds of the steps; None where they are few already."""
    fewer = max(FEWEST_STEPS, 2 * steps // 3)
    return fewer if fewer < steps else None


def ever_smaller(width: int, height: int) -> list[tuple[int, int]]:
    """Sizes of the same shape, each of about half the pixels of the one before it."""
    sizes = []
    while (size := smaller(width, height)) is not None:
        sizes.append(size)
        width, height = size
    return sizes


def worth_saying(now: Offer, offers: list[Offer]) -> list[int]:
    """Which of several offers are sooner or cheaper than what is asked for, best first: what begins sooner before what
    only costs less, then by when it begins, then by price. What nobody here could do is no way out."""
    ranked = []
    for index, offer in enumerate(offers):
        if offer.seconds is None:
            continue
        sooner = offer.sooner_than(now)
        later = now.sooner_than(offer)
        if sooner or (offer.total_mkudos < now.total_mkudos and not later):
            ranked.append((not sooner, offer.seconds, offer.total_mkudos, index))
    return [index for *_, index in sorted(ranked)[:MAX_CHANGES]]
