"""Which painter a worker has, by its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horde.worker_agent.painter import Painter
from horde.worker_agent.painter_scripted import ScriptedPainter
from horde.worker_agent.settings import WorkerSettings

DEFAULT_MODEL = "paintbox"


@asynccontextmanager
async def open_painter(settings: WorkerSettings) -> AsyncIterator[Painter]:
    """The painter, ready to paint, for as long as the block."""
    painter = await _open(settings)
    try:
        yield painter
    finally:
        await painter.close()


async def _open(settings: WorkerSettings) -> Painter:
    names = tuple(part.partition("=")[0].strip() for part in settings.models.split(",") if part.strip())
    return ScriptedPainter(
        names or (DEFAULT_MODEL,),
        name=settings.name,
        script=settings.script,
        quality=settings.quality,
        max_pixels=settings.max_pixels,
    )
