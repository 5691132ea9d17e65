"""The one error of stores: it has no reason, because nobody who calls us can do anything but come again."""

from __future__ import annotations

from horde.services.errors import Unavailable


class StoreUnavailable(Unavailable):
    """The bucket is away."""
