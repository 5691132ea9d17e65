"""The hint that keeps a bucket's folders apart: given where it is known, missed nowhere."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from horde.services.clock import SystemClock
from horde.storage_router.bucket_directory import DirectoryBucket
from horde.storage_router.placing import spread_folders

TOP_OF_A_HIERARCHY = 0x00020000


def flags_of(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY)
    try:
        return int.from_bytes(fcntl.ioctl(handle, 0x80086601, bytes(8))[:4], "little")
    finally:
        os.close(handle)


def test_a_folder_has_the_mark_if_it_says_so_and_keeps_what_else_it_had(tmp_path: Path) -> None:
    marked = spread_folders(tmp_path)
    assert spread_folders(tmp_path) is marked
    if marked:
        assert flags_of(tmp_path) & TOP_OF_A_HIERARCHY
        (tmp_path / "one").mkdir()
        assert flags_of(tmp_path) & ~flags_of(tmp_path / "one") in (0, TOP_OF_A_HIERARCHY)


def test_what_cannot_be_marked_is_no_error(tmp_path: Path) -> None:
    assert not spread_folders(tmp_path / "nothing here")
    assert not spread_folders(Path("/proc/self"))


async def test_a_bucket_is_the_same_again_after_a_restart(tmp_path: Path) -> None:
    for made in (True, False):
        async with DirectoryBucket(tmp_path / "a" / "bucket", SystemClock().now) as bucket:
            assert await bucket.put("images/one", b"x") is made
            assert await bucket.read("images/one")
