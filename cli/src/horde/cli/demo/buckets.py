"""Looking into the buckets of an embedded mesh from outside, as an auditor would: names, sizes, whose bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".partial"
"""The folder of files that are being written, or were when their writer died; the router clears it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a bucket."""

    bucket: str
    name: str
    path: Path
    size: int

    def read(self) -> bytes:
        """All of it."""
        return self.path.read_bytes()

    def holds(self, content: bytes) -> bool:
        """Whether it is this picture: its bytes come first in the file, its metadata may follow. What was taken away
        since it was listed holds nothing."""
        try:
            return self.size >= len(content) and self.read().startswith(content)
        except FileNotFoundError:
            return False


def list_bucket(folder: Path) -> list[Stored]:
    """Every object of a bucket that is a folder; what a crash left unfinished there (`.partial`) is no object."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and UNFINISHED not in path.parts:
            with suppress(FileNotFoundError):  # taken away meanwhile
                found.append(Stored(folder.name, path.relative_to(folder).as_posix(), path, path.stat().st_size))
    return found
