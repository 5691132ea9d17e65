"""Names of files: given, taken over, and made durable with the folders that hold them. Knows no metadata."""

from __future__ import annotations

import os
from pathlib import Path


def link(fresh: str, path: str) -> bool:
    """Give a file a second name. False if another file has it."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        make_folder(Path(path).parent)
        return link(fresh, path)
    return True


def rename(fresh: str, path: str) -> bool:
    """Give a file a name in the place of the one it has, and of whoever had it."""
    try:
        os.replace(fresh, path)  # noqa: PTH105 - beside its kin
    except FileNotFoundError:
        make_folder(Path(path).parent)
        os.replace(fresh, path)  # noqa: PTH105
    return True


def make_folder(folder: Path) -> None:
    """Make it with those above it, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        synchronise(str(folder.parent))


def synchronise(path: str, kind: int = os.O_RDONLY | os.O_DIRECTORY) -> None:
    """Make a file durable, or the names in a folder. What is gone by now needs nothing."""
    try:
        handle = os.open(path, kind)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
