"""Copying one database whole: SQLite by its own means, PostgreSQL by pg_dump, of a moment that is fixed before."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_SECONDS: Final = 10


class BackupFailed(Exception):
    """It was not copied, or not put back; the message says why."""


def is_postgresql(url: str) -> bool:
    """Whether it is a server, and not a file."""
    return url.startswith("postgresql")


def file_of(url: str) -> Path:
    """SQLite's file."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def moment(url: str) -> Iterator[Callable[[Path], None]]:
    """Fix what the database holds now; what comes out copies that into a file, however much is written meanwhile."""
    if not is_postgresql(url):
        # Nobody writes to it now; its log may hold what the file does not yet.
        yield lambda target: _copy_file(file_of(url), target)
        return
    import psycopg

    try:
        with psycopg.connect(plain(url), autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row: Any = connection.execute("SELECT pg_export_snapshot()").fetchone()

            def copy(target: Path) -> None:
                run(
                    ["pg_dump", "--format=custom", "--no-owner", f"--snapshot={row[0]}", f"--file={target}", plain(url)]
                )

            yield copy
    except psycopg.Error as error:
        raise BackupFailed(str(error).strip()) from error


def _copy_file(source: Path, target: Path) -> None:
    if not source.exists():
        raise BackupFailed(f"{source} is not there")
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as copy:
        there.backup(copy)
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise BackupFailed(f"{source} is damaged")


def put_back(source: Path, url: str) -> None:
    """Fill an empty database from its copy. Raises BackupFailed where there is something already."""
    if not is_postgresql(url):
        target = file_of(url)
        if target.exists():
            raise BackupFailed(f"{target} is there already: set it aside first")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy_file(source, target)
        return
    import psycopg

    try:
        with psycopg.connect(plain(url), connect_timeout=CONNECT_SECONDS) as connection:
            row: Any = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchone()
    except psycopg.Error as error:
        raise BackupFailed(str(error).strip()) from error
    if row[0]:
        raise BackupFailed(f"the database has {row[0]} tables already: restore into an empty one")
    run(["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={plain(url)}", str(source)])


def plain(url: str) -> str:
    """The address as PostgreSQL's own programs take it."""
    return "postgresql" + url[url.index(":") :]


def run(command: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs."""
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours, word by word
    except FileNotFoundError:
        raise BackupFailed(f"{command[0]} is not here: it comes with PostgreSQL's client") from None
    if ran.returncode:
        raise BackupFailed(f"{command[0]}: {ran.stderr.strip()}")
