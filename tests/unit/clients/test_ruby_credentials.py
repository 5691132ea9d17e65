"""The Ruby SDK finds the same requester as the others."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUBY = Path(__file__).resolve().parents[3] / "clients/ruby/lib"
ASKING = 'require "horde/credentials"; puts Horde::Credentials.authorization("a:1", config_folder: ARGV[0])'


@pytest.mark.parametrize(("variable", "key"), [("", "kept"), (" ", "kept"), ("given", "given")])
def test_a_variable_that_is_set_to_nothing_hides_no_key_that_is_kept(variable: str, key: str, tmp_path: Path) -> None:
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("needs ruby")
    kept = tmp_path / "meshes" / "a+1" / "api-key"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept\n")
    kept.chmod(0o600)
    told = subprocess.run(
        [ruby, f"-I{RUBY}", "-e", ASKING, str(tmp_path)],
        env={**os.environ, "HORDE_API_KEY": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"Bearer {key}\n"
