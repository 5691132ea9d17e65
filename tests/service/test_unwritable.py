"""A folder that a process may not write to: it says so in a sentence that names it, and ends with the operator's
status."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.processes import environment, started

from horde.services.lifecycle import CANNOT_START


@pytest.mark.parametrize(
    ("service", "setting"),
    [("ledger", "STATE_DIR"), ("gateway", "PUBLIC_KEYS_DIR")],
    ids=["state", "public keys"],
)
async def test_a_folder_that_cannot_be_made_is_named(service: str, setting: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = environment(service, tmp_path, **{setting: str(tmp_path / "file" / "folder")})
    async with started(service, settings) as process:
        assert await process.ended() == CANNOT_START, process.log
    assert process.lines[-1].startswith("cannot start: "), process.log
    assert str(tmp_path / "file") in process.lines[-1]
    assert "Traceback" not in process.log
