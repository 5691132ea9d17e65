"""The texts that people agree to when they share: they come with the contract, under versions that never change."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Final

CURRENT: Final = "2026-11"
"""The newest that this program knows."""


class UnknownConsentText(Exception):
    """No text of this version came with this program."""


def consent_text(version: str) -> str:
    """The text of a version. Raises UnknownConsentText."""
    file = resources.files("horde.api") / "consent" / f"{version}.md"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", version) or not file.is_file():
        raise UnknownConsentText(version)
    return file.read_text("utf-8")


def sha256_of(version: str) -> str:
    """The SHA-256 of a version's text, in hexadecimal: what binds the version. Raises UnknownConsentText."""
    return hashlib.sha256(consent_text(version).encode()).hexdigest()
