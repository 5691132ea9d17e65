"""Which painter a worker has, by its settings, and with which models it paints, also as they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horde.services.clock import Clock
from horde.services.telemetry import get_logger
from horde.worker_agent.core.easels import devices as parse_devices
from horde.worker_agent.core.postprocessors import tool_files
from horde.worker_agent.library import CannotAdd, library_of
from horde.worker_agent.painters.models import DEFAULT_MODEL, BadModel, FoundModels, find_models
from horde.worker_agent.painters.port import Painter
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.settings import WorkerSettings

log = get_logger(__name__)

LOOK_SECONDS = 5.0
"""How often it is looked whether models were added or removed."""


def named_models(settings: WorkerSettings) -> str:
    """The models of the settings and those of the library. Raises BadModel."""
    try:
        return ",".join(filter(None, (settings.models, library_of(settings).setting())))
    except CannotAdd as error:
        raise BadModel(str(error)) from error


async def follow_models(painter: Painter, settings: WorkerSettings, clock: Clock, named: str | None = None) -> None:
    """Have the painter take up what is added and let go what is removed, for ever.

    `named` is what it was opened with, as `named_models` says it; None: what is named now.
    """
    trouble = ""
    while True:
        try:
            await asyncio.to_thread(library_of(settings).forget_old)
            now = await asyncio.to_thread(named_models, settings)
            if named is not None and now != named:
                found = await asyncio.to_thread(find_models, now, settings.state_dir)
                _tell(found)
                log.info("models have changed", models=", ".join(model.name for model in found.models))
                painter.serve(found.models)
            named, trouble = now, ""
        except (BadModel, CannotAdd, OSError) as error:
            if str(error) != trouble:
                log.warning("what models there are cannot be told: those from before are served", why=str(error))
            trouble = str(error)
        await clock.sleep(LOOK_SECONDS)


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
    _tell(found)
    models = found.models
    log.info("loading", models=", ".join(f"{model.name} from {model.place}" for model in models))
    studio = StudioSettings(
        models,
        settings.threads,
        settings.quality,
        settings.max_pixels,
        batch=settings.batch,
        post_processors=tool_files(settings.post_processors),
    )
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


def _tell(found: FoundModels) -> None:
    for problem in found.problems:
        log.warning("a model is not served", why=problem)
    if any(model.stand_in for model in found.models):
        log.warning("the model that comes with the agent is not here: a random one stands in, and paints noise")
