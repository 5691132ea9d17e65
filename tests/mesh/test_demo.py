"""`make demo`, with a painter that needs no model."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from PIL import Image as Pillow


async def test_the_demo_of_releases_ends_with_a_copy_that_is_right(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "horde.cli.demo.release", "--out", str(tmp_path), "--painter", "scripted"),
        *("--images", "12", "--ratings", "6"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await child.communicate()
    text = output.decode()
    assert child.returncode == 0, text + error.decode()
    assert text.count("every hash right") == 2
    assert re.search(r"release 2026-2: .* 5 removed", text)
    left_out = dict(re.findall(r"^(\w[\w ]+?) {2,}(\d+) ", text, re.M))
    assert (left_out["withdrawn"], left_out["unsafe"], left_out["contact data"]) == ("6", "1", "3")
    assert left_out["not text to image"] == "0"
    assert "ratings by 24 people" in text
    assert "who did not look earned 0" in text
    assert "a predictor is trained" in text
    # Whatever was shown to whom by chance: nothing is left that cannot be learnt from.
    images, rated, held_out = map(int, re.search(r"(\d+) images, (\d+) rated, (\d+) of them held out", text).groups())  # type: ignore[union-attr]
    assert images == rated
    assert held_out >= 20
    assert list((tmp_path / "predictor").iterdir())
    with Pillow.open(tmp_path / "copies" / "2026-1" / "contact-sheet.jpg") as sheet:
        assert sheet.width > 1000


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
