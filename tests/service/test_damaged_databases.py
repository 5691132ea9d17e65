"""A database that can never be read again: its service says so in a sentence, and ends with the operator's status."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest
from tests.service.processes import environment, started

from horde.services.lifecycle import CANNOT_START

FILES = {"ledger": "ledger.db", "scheduler": "scheduler.sqlite3", "gateway": "identity.sqlite"}


@pytest.mark.parametrize("service", FILES)
async def test_a_file_that_is_no_database_is_named_with_what_to_do(service: str, tmp_path: Path) -> None:
    file = tmp_path / service / FILES[service]
    file.parent.mkdir()
    file.write_bytes(b"no database at all" * 1000)
    async with started(service, environment(service, tmp_path)) as process:
        assert await process.ended() == CANNOT_START, process.log
    assert process.lines[-1].startswith(f"cannot start: the database sqlite:///{file} is damaged")
    assert "put the last backup in its place" in process.lines[-1]
    assert "Traceback" not in process.log


@pytest.mark.parametrize("service", FILES)
async def test_so_is_one_whose_pages_were_overwritten(service: str, tmp_path: Path) -> None:
    file = tmp_path / service / FILES[service]
    settings = environment(service, tmp_path)
    async with started(service, settings) as process:
        await process.until('"ports"')
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0, process.log
    pages = overwrite(file)
    assert pages > 3
    async with started(service, settings) as process:
        assert await process.ended() == CANNOT_START, process.log
    assert f"the database sqlite:///{file} is damaged" in process.lines[-1]
    assert "Traceback" not in process.lines[-1]


def overwrite(file: Path) -> int:
    """Put noise over all pages but the first, which says what the file is; how many."""
    for beside in file.parent.glob(f"{file.name}-*"):
        beside.unlink()
    with sqlite3.connect(file) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = file.read_bytes()
    file.write_bytes(content[:size] + b"\xa5" * (len(content) - size))
    return len(content) // int(size)
