"""How far apart two pictures of the same job may be: learned from owners who are trusted, with a safe beginning. Pure.

Two machines do not paint the same bytes. How much they differ depends on the model and on what they are: between two
cards of one kind it may be nothing, between two kinds a pixel here and there, and now and then an edge. So for each
model and pair of device classes it is remembered how far apart the pictures of trusted owners were, and what is
allowed follows from that: several times a high quantile, so that what is seldom, though honest, is within it. Until
enough is known, only what no device would do is too far: as far apart as two pictures that have nothing in common.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import NamedTuple

MEASURES = ("structure", "edges", "luma", "chroma")


class Distance(NamedTuple):
    """As the router measures it, see the contract's `PictureDistance`."""

    structure: int
    """Bits of 64."""
    edges: int
    """Bits of 256."""
    luma: int
    """Thousandths of a level."""
    chroma: int
    contrast_one: int
    contrast_other: int

    @property
    def measures(self) -> tuple[int, int, int, int]:
        return self[:4]


SAFE = (20, 96, 24_000, 20_000)
"""What is allowed where nothing is known: of strangers, hardly one pair in a thousand is within all four."""
FLOOR = (6, 24, 1_500, 1_500)
"""What is always allowed, however alike the pictures of trusted owners were."""
ENOUGH = 12
"""Pairs from which is learned."""
REMEMBERED = 64
"""The last pairs, of each key."""
QUANTILE = 0.95
FACTOR = 2
"""Times that quantile is allowed."""
MAX_KEYS = 2_000

Key = tuple[str, str, str]
"""The model, and both device classes in order."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The largest distances that are within what devices do."""

    measures: tuple[int, ...] = SAFE

    def holds(self, distance: Distance) -> bool:
        return all(found <= most for found, most in zip(distance.measures, self.measures, strict=True))


def nothing_in_common(distance: Distance) -> bool:
    """Whether two pictures are as far apart as any two."""
    return not Allowed(SAFE).holds(distance)


class Tolerances:
    """What was learned, by model and device classes. It begins empty with each leader, which is safe."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[Key, deque[Distance]] = OrderedDict()

    def learn(self, model: str, one: str, other: str, distance: Distance) -> None:
        """Two trusted owners' pictures were so far apart. What has nothing in common is no pair to learn from."""
        if nothing_in_common(distance):
            return
        key = _key(model, one, other)
        self._pairs.setdefault(key, deque(maxlen=REMEMBERED)).append(distance)
        self._pairs.move_to_end(key)
        while len(self._pairs) > MAX_KEYS:
            self._pairs.popitem(last=False)

    def allowed(self, model: str, one: str, other: str) -> Allowed:
        """How far apart they may be."""
        pairs = self._pairs.get(_key(model, one, other), ())
        if len(pairs) < ENOUGH:
            return Allowed()
        place = int(QUANTILE * (len(pairs) - 1))
        columns = zip(*(pair.measures for pair in pairs), strict=True)
        learned = [FACTOR * sorted(column)[place] for column in columns]
        return Allowed(
            tuple(min(safe, max(floor, found)) for safe, floor, found in zip(SAFE, FLOOR, learned, strict=True))
        )


def _key(model: str, one: str, other: str) -> Key:
    return (model, *sorted((one, other)))  # type: ignore[return-value]
