"""Ports of this machine that are free, and stay so until somebody listens there."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterable
from typing import Final

RANGE: Final = range(10_000, 32_000)
"""Below those that systems give to clients: one of these would be taken again by any connection that is opened."""


def taken(ports: Iterable[int]) -> list[int]:
    """Those of these ports of loopback on which somebody listens."""
    found = []
    for port in ports:
        with socket.socket() as own:
            if os.name == "posix":
                # Else a port would count whose last connections ended just now. On Windows it would be taken away.
                own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                own.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


def free_ports(count: int, *also: int) -> list[int]:
    """So many ports of loopback on which nobody listens, with those that lie so far behind each of them."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        # From anywhere: two processes that look at once find different ones.
        for port in random.sample(RANGE, len(RANGE)):
            if len(found) == count:
                break
            sockets = [held.enter_context(socket.socket()) for _ in (port, *also)]
            try:
                for own, number in zip(sockets, (port, *(port + distance for distance in also)), strict=True):
                    own.bind(("127.0.0.1", number))
            except OSError:
                for own in sockets:
                    own.close()
                continue
            found.append(port)
    if len(found) < count:
        raise OSError(f"fewer than {count} ports are free")
    return found
