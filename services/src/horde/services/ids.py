"""New ids as something that is handed in, so that a test can know them."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID, uuid4


class Ids(Protocol):
    """Where new ids come from."""

    def new(self) -> UUID:
        """An id that nobody had before."""


class RandomIds:
    """Ids that cannot be guessed (122 random bits)."""

    def new(self) -> UUID:
        return uuid4()
