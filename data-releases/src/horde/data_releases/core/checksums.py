"""The list of a release's files with their SHA-256, in the form that `sha256sum -c` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S.*)")


class BadChecksums(ValueError):
    """The list cannot be read, or names a file outside its folder."""


def write_checksums(digests: Mapping[str, str]) -> bytes:
    """The list, sorted by name."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def read_checksums(data: bytes) -> dict[str, str]:
    """SHA-256 by name. Raises BadChecksums: a list from somewhere else must not lead out of the folder."""
    digests: dict[str, str] = {}
    for line in data.decode(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found[2].startswith("/") or ".." in found[2].split("/") or "\\" in found[2]:
            raise BadChecksums(f"{line[:100]!r} is no line of a list of checksums")
        digests[found[2]] = found[1]
    return digests
