"""What was asked, each with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from horde.services.errors import Internal

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def pairs(asked: Sequence[Asked], answers: Sequence[Answered]) -> list[tuple[Asked, Answered]]:
    """Pair what a neighbour was asked with what it answered.

    Raises Internal where they are not as many: nobody knows then which answer is whose, so all is asked again.
    """
    if len(asked) != len(answers):
        raise Internal(f"{len(asked)} items had {len(answers)} answers.")
    return list(zip(asked, answers, strict=True))
