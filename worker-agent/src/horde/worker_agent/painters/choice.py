"""Which painter a worker has, by its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horde.services.telemetry import get_logger
from horde.worker_agent.core.easels import devices as parse_devices
from horde.worker_agent.library import CannotAdd, library_of
from horde.worker_agent.painters.models import DEFAULT_MODEL, BadModel, find_models
from horde.worker_agent.painters.port import Painter
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.settings import WorkerSettings

log = get_logger(__name__)


def named_models(settings: WorkerSettings) -> str:
    """The models of the settings and those of the library. Raises BadModel."""
    try:
        return ",".join(filter(None, (settings.models, library_of(settings).setting())))
    except CannotAdd as error:
        raise BadModel(str(error)) from error


@asynccontextmanager
async def open_painter(settings: WorkerSettings) -> AsyncIterator[Painter]:
    """The painter, ready to paint, for as long as the block. Raises BadModel, CannotLoad."""
    painter = scripted(settings) if settings.painter == "scripted" else await _with_diffusers(settings)
    try:
        yield painter
    finally:
        await painter.close()


def scripted(settings: WorkerSettings) -> ScriptedPainter:
    names = tuple(part.partition("=")[0].strip() for part in settings.models.split(",") if part.strip())
    return ScriptedPainter(
        names or (DEFAULT_MODEL,),
        name=settings.name,
        script=settings.script,
        quality=settings.quality,
        max_pixels=settings.max_pixels,
        places=settings.painters,
    )


async def _with_diffusers(settings: WorkerSettings) -> Painter:
    from horde.worker_agent.painters.diffusers_studio import StudioSettings
    from horde.worker_agent.painters.process import ProcessPainter

    found = find_models(named_models(settings), settings.state_dir)
    for problem in found.problems:
        log.warning("a model is not served", why=problem)
    models = found.models
    if any(model.stand_in for model in models):
        log.warning("the model that comes with the agent is not here: a random one stands in, and paints noise")
    log.info("loading", models=", ".join(f"{model.name} from {model.place}" for model in models))
    studio = StudioSettings(models, settings.threads, settings.quality, settings.max_pixels, batch=settings.batch)
    painter = ProcessPainter(studio, parse_devices(settings.devices))
    await painter.open()
    offered = painter.capabilities()
    if painter.measured is not None:
        log.info(
            "measured",
            ms_per_megapixel_step=round(painter.measured.ms_per_megapixel_step),
            free_mib=painter.measured.bytes_free >> 20,
            max_pixels=offered.max_pixels,
        )
    return painter
