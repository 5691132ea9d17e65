"""A worker's own folder: one process at a time, for the eyes of this user alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from horde.worker_agent.outcomes import make_private


class AlreadyRunning(Exception):
    """Another process works in this folder, as this worker."""


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, ours alone for as long as the block or this process lives. Raises AlreadyRunning."""
    make_private(folder)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another process works in {folder}") from None
        yield folder
    finally:
        os.close(handle)
