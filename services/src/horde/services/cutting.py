"""Cutting connections: gRPC has no call for it in Python, and a flood must not cost a call each.

A peer is named by its address and port. The socket of that peer is found among the descriptors of this process and made
deaf: the kernel drops whatever still comes for it. The peer is not told, so it does not come back at once with a fresh
connection and the next burst; gRPC finds that nobody answers its ping, 18 s later, and forgets the connection and the
calls on it. Where a socket cannot be made deaf it is shut down; where there is no folder of descriptors nothing is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import stat
import struct
import sys
import time
from pathlib import Path

from horde.services.telemetry import get_logger

log = get_logger(__name__)

DESCRIPTORS = Path("/dev/fd")
_ATTACH_FILTER = 26
"""Linux' SO_ATTACH_FILTER: a program that says of each packet how much of it is let in."""
_RETURN = 0x06
"""The instruction of such a program that says so: nothing."""
SHARE = 0.05
"""Of the time that may go into looking at descriptors: it takes some milliseconds where there are thousands. Meanwhile
what is to be cut gathers, for one look."""


class Cutter:
    """Cuts the connections of this process. Use it on one loop."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._rests_until = 0.0

    def cut(self, connection: str) -> None:
        """Close the connection of a peer (`ipv4:192.0.2.7:50000`), soon."""
        if not self._wanted:
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._rests_until), self._sweep, loop)
        self._wanted.add(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted, self._wanted = self._wanted, set()
        # Of this thread's own time: who waits for a processor should not wait longer for it.
        began = time.thread_time()
        found = sum(_shut_down(int(name), wanted) for name in _descriptors())
        self._rests_until = loop.time() + (time.thread_time() - began) / SHARE
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
            _silence(copy)
            _drain(copy)
        except OSError:
            return False  # It listens, or has gone.
        return True


def _silence(connection: socket.socket) -> None:
    """Let nothing in any more, not even what would end it."""
    if sys.platform == "linux":
        rule = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
        with contextlib.suppress(OSError):
            program = struct.pack("HP", 1, ctypes.addressof(rule))
            connection.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
            return
    connection.shutdown(socket.SHUT_RDWR)


def _drain(connection: socket.socket) -> None:
    """Throw away what has come already: it would be read, and served, before the end is seen, some hundred calls."""
    if sys.platform == "linux":  # Only there does MSG_TRUNC throw away what a stream brought.
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20, socket.MSG_DONTWAIT | socket.MSG_TRUNC):
                pass


def _name(peer: tuple[str, int]) -> str:
    """A peer as gRPC names it."""
    host, port = peer[:2]
    if host.startswith("::ffff:"):
        return f"ipv4:{host.removeprefix('::ffff:')}:{port}"
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
