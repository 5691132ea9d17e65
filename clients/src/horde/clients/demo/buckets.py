"""Looking into the buckets of an embedded mesh from outside, as an auditor would: names, sizes, whose bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a bucket."""

    bucket: str
    name: str
    path: Path
    size: int

    def holds(self, content: bytes) -> bool:
        """Whether it is this picture: its bytes come first in the file, its metadata may follow."""
        return self.size >= len(content) and self.path.read_bytes().startswith(content)


def list_bucket(folder: Path) -> list[Stored]:
    """Every object of a bucket that is a folder, but for what is unfinished."""
    return [
        Stored(folder.name, path.relative_to(folder).as_posix(), path, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".partial")
    ]
