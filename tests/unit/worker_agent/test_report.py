"""What an owner sends to whoever helps: enough to help, and nothing that is his alone."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from horde.worker_agent.report import report, write
from horde.worker_agent.settings import WorkerSettings

KEY = "0123456789abcdefABCDEF"


def settings(tmp_path: Path, **named: Any) -> WorkerSettings:
    return WorkerSettings(**{"api_key": KEY, "name": "annas-machine", "state_dir": tmp_path / "state", **named})


@pytest.mark.parametrize("in_a_file", [False, True])
def test_no_key_no_name_and_no_home_is_in_it(tmp_path: Path, in_a_file: bool) -> None:
    named: dict[str, Any] = {"models": f"sdxl={tmp_path}/models/sdxl"}
    if in_a_file:
        (tmp_path / "key").touch(0o600)
        (tmp_path / "key").write_text(KEY)
        named |= {"api_key": "", "api_key_file": tmp_path / "key"}
    mine = settings(tmp_path, **named)
    (mine.home / "spool").mkdir(parents=True)
    (mine.home / "spool" / "lease-1").write_bytes(b"a picture")
    # What says the key by mistake does not carry it out either.
    verdicts = [{"about": "key", "is": "bad", "words": f"{KEY} on {platform.node()} in {tmp_path}/state"}]
    text = report(mine, verdicts, {"name": "annas-machine", "state": "idle"}, home=tmp_path)
    for secret in (KEY, "annas-machine", str(tmp_path), "lease-1", platform.node()):
        assert secret not in text, secret
    found = json.loads(text)
    assert found["settings"]["models"] == "sdxl=~/models/sdxl"
    assert found["status"] == {"name": "WORKER", "state": "idle"}
    assert found["waiting on disk"] == {"outcomes": "0 files, 0 bytes", "spool": "1 files, 9 bytes"}
    assert found["verdicts"][0]["words"] == "(hidden) on HOST in ~/state"
    assert found["versions"]["grpcio"]


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    write("{}\n", tmp_path / "report.json")
    assert (tmp_path / "report.json").stat().st_mode & 0o077 == 0
    with pytest.raises(OSError, match="No such file"):
        write("{}\n", tmp_path / "no" / "report.json")
