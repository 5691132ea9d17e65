"""Outcomes that the mesh has not settled, on disk: one small file for each.

A file is written by one system call, which a kill does not cut in two: a killed process leaves a whole outcome or an
empty file, which says nothing and is dropped. Nothing is forced to the platter: after a loss of power an outcome may be
missing, its lease lapses, and somebody else paints the job; a forced write for every image would cost more than that.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from google.protobuf.message import DecodeError

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.telemetry import get_logger
from horde.worker_agent import wire
from horde.worker_agent.core.jobs import LeaseId, Outcome

log = get_logger(__name__)

_AS_IT_IS = getattr(os, "O_BINARY", 0)
"""Windows would write another line end otherwise, into the middle of a picture."""


@lru_cache(maxsize=1024)
def file_name(lease_id: LeaseId) -> str:
    """A name of ours for a lease: its id is the mesh's, and could hold anything."""
    return hashlib.sha256(lease_id.encode()).hexdigest()[:32]


def make_private(folder: Path) -> Path:
    """The folder, made if need be, for the eyes of this user alone: grants and receipts lie in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_at_once(folder: str, name: str, *parts: bytes) -> None:
    """Write a file for this user's eyes alone, in one call as far as the system takes it."""
    handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _AS_IT_IS, 0o600)
    try:
        rest = memoryview(b"".join(parts))
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def remove(folder: str, name: str) -> None:
    """Delete a file, if it is there. On a disk that lets nothing be deleted it stays: then it is said once more at the
    next start, and answered as it was."""
    try:
        os.unlink(f"{folder}/{name}")  # noqa: PTH108 - for every image: a Path costs ten times the call
    except OSError:
        pass


def files_in(folder: str) -> list[tuple[str, bytes]]:
    """What an earlier run left, with its names, the oldest first; what cannot be read is told and passed over."""
    found = []
    with os.scandir(folder) as entries:
        for path in sorted((Path(entry.path) for entry in entries if entry.is_file()), key=_written_at):
            try:
                found.append((path.name, path.read_bytes()))
            except OSError as error:
                log.warning("a file of an earlier run cannot be read", file=str(path), why=str(error))
    return found


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class OutcomeFolder:
    """The outcomes that are still to be settled."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(make_private(folder))

    def keep(self, outcome: Outcome) -> None:
        """Write it; an older one of the same lease is replaced."""
        content = wire.outcome_to_proto(outcome).SerializeToString()
        write_at_once(self._folder, file_name(outcome.lease_id), content)

    def forget(self, lease_id: LeaseId) -> None:
        """Delete it, if it is there."""
        remove(self._folder, file_name(lease_id))

    def load(self) -> list[Outcome]:
        """Everything that an earlier run left, in the order in which it was written; what cannot be read is deleted."""
        found = []
        for name, content in files_in(self._folder):
            try:
                found.append(wire.outcome_from_proto(pb.Outcome.FromString(content)))
            except (DecodeError, ValueError) as error:
                log.warning("an outcome on disk cannot be read and is dropped", file=name, why=str(error))
                remove(self._folder, name)
        return found
