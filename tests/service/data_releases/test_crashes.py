"""A builder that is killed in the middle, again and again, makes what an undisturbed one makes, byte for byte."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from horde.testkit.data_releases import START, Moment, Sharing, contents, job_id, plain_folder

BEGIN = START - timedelta(days=20)
"""The builder's clock is the machine's."""
KILLS = ("releases.after_shard=kill@3", "releases.after_part=kill@2")


LARGEST_FILE: Final = 60_000
"""More than a disk that is full takes of anything, less than a shard."""
FULL: Final = 6


def build(shared: Path, home: Path, failpoints: str = "", largest: int = resource.RLIM_INFINITY) -> int:
    prefix = "HORDE_DATA_RELEASES_"
    settings = {
        "SHARED_DIR": str(shared),
        "RELEASES_DIR": str(home / "releases"),
        "STATE_DIR": str(home / "state"),
        "SIGNING_KEY_FILE": str(shared.parent / "signing.key"),
        "PSEUDONYM_KEY_FILE": str(shared.parent / "pseudonyms.key"),
        "FAILPOINTS": failpoints,
    }
    command = ["create", "r1", "--samples", "20"]
    as_of = (BEGIN + timedelta(days=8)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    environment = {**os.environ, **{prefix + name: value for name, value in settings.items()}}
    # The child bounds itself: between fork and exec gRPC's threads in this process may abort it.
    bounded = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({largest}, {largest})); " if largest >= 0 else ""
    bounded += "import runpy; runpy.run_module('horde.data_releases', run_name='__main__', alter_sys=True)"
    ran = subprocess.run(
        [sys.executable, "-c", bounded, *command, "--as-of", as_of], env=environment, capture_output=True, text=True
    )
    assert ran.returncode in (0, FULL, -signal.SIGKILL), ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.returncode


async def test_a_build_that_was_killed_three_times_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    clock = Moment(BEGIN)
    async with plain_folder(tmp_path / "shared", clock) as shared:
        sharing = Sharing(shared, clock)
        for number in range(70):
            await sharing.share(number, seed=number // 3)
        await sharing.images.withdraw(job_id(6))
    assert build(tmp_path / "shared", tmp_path / "quiet") == 0
    for kill in KILLS:
        assert build(tmp_path / "shared", tmp_path / "killed", kill) == -signal.SIGKILL
    # Another machine goes on: what the first kept on its disk is not needed.
    (tmp_path / "killed" / "state").rename(tmp_path / "lost")
    assert build(tmp_path / "shared", tmp_path / "killed", "releases.before_finished=kill@1") == -signal.SIGKILL
    assert build(tmp_path / "shared", tmp_path / "killed") == 0
    assert contents(tmp_path / "quiet" / "releases") == contents(tmp_path / "killed" / "releases")
    # Nor does a disk that is full in the middle leave halves.
    assert build(tmp_path / "shared", tmp_path / "full", largest=LARGEST_FILE) == FULL
    assert build(tmp_path / "shared", tmp_path / "full") == 0
    assert contents(tmp_path / "quiet" / "releases") == contents(tmp_path / "full" / "releases")
