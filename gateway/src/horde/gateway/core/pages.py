"""Page tokens of lists that the gateway makes itself: opaque to who asks, and the last name that was shown to us."""

from __future__ import annotations

import base64
import binascii


def write_place(name: str) -> str:
    """The token of the page behind this name."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def read_place(token: str) -> str | None:
    """Behind which name a page begins; empty: with the first. None: no token that was given out."""
    try:
        name = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    # No name has what a database does not take.
    return name if name.isprintable() else None
