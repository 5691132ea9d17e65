"""Page tokens: opaque to who asks, and a place in a list to us. What comes back may be anything."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

MAX_CHARACTERS: Final = 512
"""Of a token that is read."""
MOST: Final = 1 << 63
"""What databases keep is smaller, and not below its negative."""


def write_place(*place: str | int | bool) -> str:
    """The token of the page behind this place."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_place(token: str, *kinds: type) -> list[Any] | None:
    """The place, if the token can be one that was given out for a place of these kinds: texts and numbers that any
    database takes."""
    if len(token) > MAX_CHARACTERS:
        return None
    try:
        place = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
    if not isinstance(place, list) or [type(part) for part in place] != list(kinds):
        return None
    return place if all(map(_can_be_kept, place)) else None


def _can_be_kept(part: str | int | bool) -> bool:
    if isinstance(part, int):
        return -MOST <= part < MOST
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in part)
