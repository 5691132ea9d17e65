"""The text that somebody who shares agrees to. A version is bound to its digest, so nobody agrees to another by it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


class UnpublishedText(ValueError):
    """This is not the text that was published under this version."""


@dataclass(frozen=True, slots=True)
class ConsentText:
    """A text, in English, with its version and the SHA-256 of its UTF-8."""

    version: str
    text: str
    sha256: bytes


def consent_text(version: str, content: bytes, sums: str) -> ConsentText:
    """The text of a version; `sums` are lines of digest and file name. Raises UnpublishedText."""
    digest = hashlib.sha256(content)
    if f"{digest.hexdigest()}  {version}.md" not in sums.splitlines():
        raise UnpublishedText(f"this is not the consent text that was published as {version}")
    return ConsentText(version, content.decode("utf-8"), digest.digest())
