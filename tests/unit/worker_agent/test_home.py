"""A worker's own folder, and the name that it has where its owner gives it none."""

from __future__ import annotations

import re
from pathlib import Path

from horde.worker_agent.home import lasting_name
from horde.worker_agent.settings import NAME, WorkerSettings


def test_a_name_that_nobody_gave_lasts_and_is_no_other_workers(tmp_path: Path) -> None:
    name = lasting_name(tmp_path / "one", "desk")
    assert re.fullmatch(r"desk-[0-9a-f]{6}", name)
    assert lasting_name(tmp_path / "one", "desk") == name
    assert lasting_name(tmp_path / "two", "desk") != name


def test_two_workers_of_one_host_have_names_of_their_own_by_default(tmp_path: Path) -> None:
    names = {WorkerSettings(api_key="x", state_dir=tmp_path / folder).name for folder in ("a", "b", "a")}  # type: ignore[arg-type]
    assert len(names) == 2
    assert all(NAME.fullmatch(name) for name in names)


def test_a_folder_that_cannot_be_written_still_gives_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert lasting_name(tmp_path / "file" / "state", "desk").startswith("desk-")
