"""A worker for the bench: the real agent with the scripted painter, which notes when each picture was begun.

Started by bench/mesh.py and bench/rolling.py as a process of its own. At its end it writes lines `SEED
MONOTONIC_SECONDS` to BENCH_NOTES; the clock is that of the machine, the same for all processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from horde.services import lifecycle
from horde.services.clock import SystemClock
from horde.services.telemetry import configure_logs
from horde.worker_agent.core.jobs import Capabilities, InputId, Picture
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.port import Onlooker, Work
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.running import working
from horde.worker_agent.settings import WorkerSettings


class NotingPainter:
    """The scripted painter, with a clock beside it."""

    def __init__(self, painter: ScriptedPainter) -> None:
        self._painter = painter
        self.begun: list[tuple[int, float]] = []

    @property
    def places(self) -> int:
        return self._painter.places

    def capabilities(self) -> Capabilities:
        return self._painter.capabilities()

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work:
        self.begun.append((picture.seed, time.monotonic()))
        return await self._painter.paint(picture, inputs, onlooker, cancelled)

    def serve(self, models: Sequence[ModelSource]) -> None:
        self._painter.serve(models)

    def on_change(self, changed: Callable[[], None]) -> None:
        self._painter.on_change(changed)

    async def close(self) -> None:
        await self._painter.close()


async def run(settings: WorkerSettings, notes: Path) -> None:
    """Work until told to stop, then write the notes."""
    configure_logs(level=settings.log_level, form=settings.log_format, service="worker")
    painter = NotingPainter(ScriptedPainter(name=settings.name, script=os.environ.get("BENCH_SCRIPT", "[instant]")))
    async with working(settings, painter, SystemClock()):
        await lifecycle.until_signalled()
    notes.write_text("".join(f"{seed} {at}\n" for seed, at in painter.begun))


if __name__ == "__main__":
    lifecycle.run(run(WorkerSettings(), Path(os.environ["BENCH_NOTES"])))
