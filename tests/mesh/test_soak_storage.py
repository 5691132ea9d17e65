"""Images of all kinds while routers are killed and the store fails, is slow, comes back: a small `make soak-storage`.

`make test-kills` asks for more of them, and also of an S3 server with moods.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from horde.testkit.storage_remains import PLANTED
from horde.testkit.storage_soak import soaking

ALL: Final = os.environ.get("HORDE_KILL_MATRIX") == "all"
JOBS: Final = 2_000 if ALL else 50


@pytest.mark.parametrize("store", ["folders", pytest.param("s3", marks=pytest.mark.s3)] if ALL else ["folders"])
async def test_nothing_private_goes_public_and_nothing_is_lost_or_left(store: str, tmp_path: Path) -> None:
    async with soaking(tmp_path, on_s3=store == "s3") as soak:
        await soak.run(JOBS, 10, 5.0 if ALL else 2.0, lambda line: None)
        findings = await soak.settled()
        assert not any(soak.judge(findings).values()), (soak.judge(findings), findings, soak.came.disturbed)
        assert soak.came.withdrawn
        assert await soak.found_after_planting() == PLANTED
