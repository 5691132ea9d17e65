"""A release that is cancelled ends its builder, also one that does not go by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from horde.curation.core.releases import Asked, Terms
from horde.curation.neighbours import builders
from horde.curation.neighbours.builders import BuilderFailed, ChildBuilder
from horde.curation.settings import CurationSettings
from horde.services.clock import SystemClock

OBEYS = "import sys; print('ready', file=sys.stderr, flush=True); sys.stdin.read()"
DOES_NOT = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + OBEYS


class Started(ChildBuilder):
    """Runs another program in the builder's place."""

    def __init__(self, settings: CurationSettings, code: str) -> None:
        ratings: Any = NoRatings()
        super().__init__(settings, ratings)
        self._code = code
        self.children: list[asyncio.subprocess.Process] = []

    async def _start(
        self, arguments: Sequence[str], *more: str, stdout: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self._code, stdin=pipe, stdout=stdout, stderr=pipe
        )
        self.children.append(child)
        return child


class NoRatings:
    """None are needed."""

    async def of(self, asked: Asked) -> Path:
        return Path("none")


@pytest.mark.parametrize("code", [OBEYS, DOES_NOT])
async def test_a_cancelled_release_ends_its_builder(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "STOP_SECONDS", 0.5)
    ready = asyncio.Event()
    told = builders._tail

    async def tail(process: asyncio.subprocess.Process) -> str:
        assert process.stderr is not None
        await process.stderr.readline()
        ready.set()
        return await told(process)

    monkeypatch.setattr(builders, "_tail", tail)
    builder = Started(CurationSettings(state_dir=tmp_path), code)
    build = asyncio.create_task(builder.build(Asked("2026-11.1", Terms(), SystemClock().now(), "ops")))
    await ready.wait()
    await builder.stop("2026-11.1")
    with pytest.raises(BuilderFailed):
        await build
    assert builder.children[0].returncode is not None
