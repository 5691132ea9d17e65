"""What a model's catalogue says must be fetched, and whether it may.

Paths that stay in their folder, kinds of files that run nothing, sizes and digests for all of them. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".md", ""})
"""Weights, and what describes them. No program, and nothing pickled."""
MAX_FILES = 1_000
MAX_BYTES = 1 << 42
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SHA256 = re.compile(r"[0-9a-f]{64}")


class BadCatalogue(Exception):
    """A catalogue asks for what must not be, or does not say enough; the message says what."""


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file to be fetched."""

    path: str
    bytes: int
    sha256: str


def wanted_files(catalogue: Any) -> list[WantedFile]:
    """What `files` of a catalogue lists. Raises BadCatalogue."""
    files = catalogue.get("files") if isinstance(catalogue, dict) else None
    if not isinstance(files, list) or not files:
        raise BadCatalogue("it lists no files")
    if len(files) > MAX_FILES:
        raise BadCatalogue(f"it lists more than {MAX_FILES} files")
    wanted = [_wanted(file) for file in files]
    if len({file.path.lower() for file in wanted}) != len(wanted):
        # On some systems two such files are one.
        raise BadCatalogue("it lists a file twice")
    return wanted


def _wanted(entry: Any) -> WantedFile:
    if not isinstance(entry, dict):
        raise BadCatalogue("it lists a file without its path, bytes and sha256")
    path, size, digest = entry.get("path"), entry.get("bytes"), entry.get("sha256")
    if not isinstance(path, str) or not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise BadCatalogue(f"it lists {path!r} without a path or a sha256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BYTES:
        raise BadCatalogue(f"it does not say how large {path} is")
    parts = path.split("/")
    if any(not NAME.fullmatch(part) for part in parts):
        raise BadCatalogue(f"{path!r} is no path within a model's folder")
    if PurePosixPath(path).suffix not in SUFFIXES:
        raise BadCatalogue(f"{path} is neither weights (.safetensors) nor a description: it may run something")
    return WantedFile(path, size, digest)


def missing_room(wanted: Sequence[WantedFile], kept: int, free: int, most: int, reserve: int) -> str | None:
    """Why there is no room for these files; None if there is. All in bytes.

    `kept` is what models take now, `free` what the disk has left, `most` what models may take (0: no bound), and
    `reserve` what must stay free.
    """
    needed = sum(file.bytes for file in wanted)
    if most and kept + needed > most:
        return f"it needs {mib(needed)}; models take {mib(kept)} already, and may take {mib(most)} (max_models_gib)"
    if needed > free - reserve:
        return f"it needs {mib(needed)}; the disk has {mib(free)} free, of which {mib(reserve)} must stay so"
    return None


def mib(count: int) -> str:
    """Bytes in words."""
    return f"{count / (1 << 20):,.0f} MiB"
