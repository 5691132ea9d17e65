"""Page tokens: opaque to who asks, and a place in a list to us."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any


def write_place(*place: Any) -> str:
    """The token of the page behind this place, of texts, numbers and truths."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_place(token: str, *kinds: type) -> list[Any] | None:
    """The place, if the token is one that was given out for a place of these kinds."""
    try:
        place = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeError, ValueError):
        return None
    if not isinstance(place, list) or [type(part) for part in place] != list(kinds):
        return None
    return place
