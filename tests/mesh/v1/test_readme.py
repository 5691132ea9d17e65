"""What the page of the web door tells people to type with curl is typed here, word for word."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.documents import ALL, program
from tests.mesh.v1.calling import Caller

from horde.cli.local.mesh import LocalMesh

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        not all(shutil.which(tool) for tool in ("curl", "jq", "openssl", "python3")), reason="a tool is not here"
    ),
]


async def test_from_nothing_to_a_picture_with_curl(mesh: LocalMesh, stranger: Caller, tmp_path: Path) -> None:
    typed = [command for block in ALL for command in block.commands if program(command) == "curl"]
    assert len(typed) >= 4
    for command in typed:
        line = command.replace("http://127.0.0.1:7710", mesh.web)
        child = await asyncio.create_subprocess_exec(
            "bash", "-c", line, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await child.communicate()
        assert child.returncode == 0, said.decode()
    with Image.open(tmp_path / "star.webp") as star:
        assert star.size == (128, 128)
