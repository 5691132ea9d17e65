"""A worker's own folder: one process at a time, for the eyes of this user alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from horde.worker_agent.outcomes import make_private


class AlreadyRunning(Exception):
    """Another process works in this folder, as this worker."""


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, ours alone for as long as the block or this process lives. Raises AlreadyRunning."""
    make_private(folder)
    lock = FileLock(folder / "lock", mode=0o600, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunning(f"another process works in {folder}") from None
    try:
        yield folder
    finally:
        lock.release()


def lasting_name(state_dir: Path, host: str) -> str:
    """A worker's name where its owner gives it none: the host's, and a few letters that no other host of that name has.

    It is drawn once and kept in the folder, for a worker has the same name after a restart. Where the folder cannot be
    written it lasts for this run.
    """
    kept = state_dir / "name"
    try:
        return kept.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        name = f"{host}-{secrets.token_hex(3)}"
    try:
        make_private(state_dir)
        kept.write_text(name, encoding="ascii")
    except OSError:
        pass
    return name
