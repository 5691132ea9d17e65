"""Cutting connections: gRPC has no call for it in Python, and a flood must not cost a call each.

A peer is named by its address and port. The socket of that peer is found among the descriptors of this process and shut
down; gRPC finds its end, and forgets the calls on it. Where there is no folder of descriptors nothing is cut.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

from horde.services.telemetry import get_logger

log = get_logger(__name__)

DESCRIPTORS = Path("/dev/fd")
TOGETHER_SECONDS = 0.05
"""A look at all descriptors is for all that is to be cut: it takes some milliseconds where there are thousands."""


class Cutter:
    """Cuts the connections of this process. Use it on one loop."""

    def __init__(self, together_seconds: float = TOGETHER_SECONDS) -> None:
        self._together = together_seconds
        self._wanted: set[str] = set()

    def cut(self, connection: str) -> None:
        """Close the connection of a peer (`ipv4:192.0.2.7:50000`), soon."""
        if not self._wanted:
            asyncio.get_running_loop().call_later(self._together, self._sweep)
        self._wanted.add(connection)

    def _sweep(self) -> None:
        wanted, self._wanted = self._wanted, set()
        found = sum(_shut_down(int(name), wanted) for name in _descriptors())
        if found:
            log.warning("connections that flooded were cut", connections=found)


def _descriptors() -> list[str]:
    return [entry.name for entry in DESCRIPTORS.iterdir()] if DESCRIPTORS.is_dir() else []


def _shut_down(descriptor: int, wanted: set[str]) -> bool:
    """Shut a socket down if it is connected to one of these. A copy is looked at: the number may be another's soon."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False  # Closed meanwhile.
    with copy:
        try:
            if copy.family not in (socket.AF_INET, socket.AF_INET6) or _name(copy.getpeername()) not in wanted:
                return False
            copy.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False  # It listens, or has gone.
        return True


def _name(peer: tuple[str, int]) -> str:
    """A peer as gRPC names it."""
    host, port = peer[:2]
    if host.startswith("::ffff:"):
        return f"ipv4:{host.removeprefix('::ffff:')}:{port}"
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
