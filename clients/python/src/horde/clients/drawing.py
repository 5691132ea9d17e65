"""Drawing secrets where they are kept, so that an answer that was lost loses none."""

from __future__ import annotations

import secrets
import string
from typing import Final

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_CHARACTERS: Final = 22
"""Of 62: 131 bits."""


def new_api_key() -> str:
    """A key that nobody had before, to be made good by the mesh."""
    return "".join(secrets.choice(ALPHABET) for _ in range(KEY_CHARACTERS))
