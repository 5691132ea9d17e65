"""`make demo`, with a painter that needs no model."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from PIL import Image as Pillow


async def test_the_demo_shows_what_it_promises_and_ends_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    # What an earlier run has left does not matter.
    (folder / "state" / "ledger").mkdir(parents=True)
    (folder / "account-private-9.webp").write_bytes(b"old")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "horde.cli.demo",
        "--out",
        str(folder),
        "--painter",
        "scripted",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await child.communicate()
    text = output.decode()
    assert child.returncode == 0, text + error.decode()
    assert "Every image is in its bucket, and in no other." in text
    for words in ("you did not ask to share", "you asked for it", "anonymous text to image is always shared", "tax"):
        assert words in text
    assert len(list(folder.glob("*.webp"))) == 8
    with Pillow.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > 1000
