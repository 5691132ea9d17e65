"""Page tokens: opaque to who asks, and the place where the last page ended to us."""

from __future__ import annotations

import base64
import json

from horde.scheduler.core.errors import InvalidField
from horde.services.errors import FieldViolation


def write_token(*place: int | str) -> str:
    """An opaque page token."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_token(token: str) -> list[int | str] | None:
    """Where a page begins; raises InvalidField for what is none of ours."""
    if not token:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        place = None
    if not isinstance(place, list) or len(place) != 2 or not all(isinstance(part, (int, str)) for part in place):
        raise InvalidField(violations=[FieldViolation("page_token", "not one that was given out")])
    return place
