"""Page tokens: opaque to who asks, and the place where the last page ended to us."""

from __future__ import annotations

from typing import Any

from horde.scheduler.core.errors import InvalidField
from horde.services.errors import FieldViolation
from horde.services.pages import read_place, write_place

write_token = write_place


def read_token(token: str, *kinds: type) -> list[Any] | None:
    """Where a page begins; raises InvalidField for what is none of ours."""
    if not token:
        return None
    place = read_place(token, *kinds)
    if place is None:
        raise InvalidField(violations=[FieldViolation("page_token", "not one that was given out")])
    return place
