"""Uploads that were refused for what they are, counted by the lease or input that they were for.

A worker that brings a bad picture brings the same one again: each try costs a decoder's time, so there are few. And who
has a record: an owner whose pictures passed lately, and none of whose was refused since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from horde.storage_router.core.errors import (
    ContentConflict,
    DigestMismatch,
    NotAnImage,
    ShareExceeded,
    TooLarge,
    TooManyFailures,
    WrongDimensions,
)

MOST = 3
"""Refused uploads of one lease, or of one input."""
REMEMBERED = 100_000
"""Leases and inputs, and as many owners: those seen longest ago are forgotten."""

K = TypeVar("K")
V = TypeVar("V")

_THEIR_FAULT = (NotAnImage, WrongDimensions, TooLarge, DigestMismatch)


class Failures:
    """Counts them. Of this process: replicas count by themselves."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._trying: dict[tuple[str, str], int] = {}
        self._passed: OrderedDict[str, None] = OrderedDict()

    @contextmanager
    def counted(self, subject: tuple[str, str], owner: str) -> Iterator[None]:
        """Around one upload. Raises TooManyFailures before the block is entered."""
        if self._counts.get(subject, 0) >= MOST:
            raise TooManyFailures(metadata={"limit": str(MOST)})
        try:
            yield
        except (*_THEIR_FAULT, ContentConflict) as error:
            _remember(self._counts, subject, self._counts.get(subject, 0) + 1)
            if not isinstance(error, ContentConflict):
                # Who paints a lease again after a crash brings another picture, in good faith.
                self._passed.pop(owner, None)
            raise

    @contextmanager
    def tried(self, subject: tuple[str, str]) -> Iterator[None]:
        """Around the looking at one upload: so many at once as may still fail. Raises ShareExceeded."""
        trying = self._trying.get(subject, 0)
        if self._counts.get(subject, 0) + trying >= MOST:
            raise ShareExceeded.of_kind("lease")
        self._trying[subject] = trying + 1
        try:
            yield
        finally:
            if self._trying[subject] == 1:
                del self._trying[subject]
            else:
                self._trying[subject] -= 1

    def passed(self, owner: str) -> None:
        """A picture of this owner passed."""
        _remember(self._passed, owner, None)

    def has_record(self, owner: str) -> bool:
        """Whether a picture of this owner passed, and none was refused since."""
        return owner in self._passed


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
