"""What people call things: the first digits of an id, a worker's name, an image's number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from horde.clients.errors import ApiKeyNotFound, GenerationNotFound, ObjectNotFound, WorkerNotFound

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Generation
    from horde.clients.client import HordeClient

ID_DIGITS: Final = 36
"""A whole id, as it is written."""
SEVERAL: Final = 5
"""How many of several that begin alike are named."""


class Ambiguous(ValueError):
    """More than one thing begins so."""

    def __init__(self, what: str, prefix: str, found: Iterable[str]) -> None:
        super().__init__(f"several {what} begin with {prefix}: {', '.join(list(found)[:SEVERAL])}")


async def generation_named(horde: HordeClient, prefix: str) -> str:
    """The id of the one generation of the caller that begins so. Raises GenerationNotFound, Ambiguous."""
    if len(prefix) == ID_DIGITS:
        return prefix
    found = [
        generation.generation_id
        async for generation in horde.generations.list()
        if generation.generation_id.startswith(prefix)
    ]
    if not found:
        raise GenerationNotFound(f"No generation of yours begins with {prefix}.")
    return _only("generations", prefix, found)


async def worker_named(horde: HordeClient, name: str) -> str:
    """The id of the one worker of the caller called so, or whose id begins so. Raises WorkerNotFound, Ambiguous."""
    if len(name) == ID_DIGITS and name.count("-") == 4:
        return name  # Those that were not here for a day are not listed.
    workers = [worker async for worker in horde.workers.list(mine=True)]
    named = [worker.worker_id for worker in workers if worker.name == name]
    found = named or [worker.worker_id for worker in workers if worker.worker_id.startswith(name.lower())]
    if not found:
        raise WorkerNotFound(f"No worker of yours is called {name}, nor begins so.")
    return _only("workers", name, found)


async def key_named(horde: HordeClient, name: str) -> str:
    """The id of the one API key of the caller with this label, or whose id begins so. Raises ApiKeyNotFound,
    Ambiguous.
    """
    keys = [key for key in await horde.accounts.keys() if not key.revoked]
    found = [key.api_key_id for key in keys if key.api_key_id == name]
    found = found or [key.api_key_id for key in keys if key.label == name or key.api_key_id.startswith(name)]
    if not found:
        raise ApiKeyNotFound(f"No good key of yours is called {name}, nor begins so.")
    return _only("keys", name, found)


def image_named(generation: Generation, name: str) -> str:
    """The job of the one image with this number, or whose job's id begins so. Raises ObjectNotFound, Ambiguous."""
    numbered = [image.job_id for image in generation.images if str(image.index) == name]
    found = numbered or [image.job_id for image in generation.images if image.job_id.startswith(name.lower())]
    if not found:
        raise ObjectNotFound(f"The generation has no image {name}: it has 0 to {len(generation.images) - 1}.")
    return _only("images", name, found)


def _only(what: str, prefix: str, found: list[str]) -> str:
    if len(found) > 1:
        raise Ambiguous(what, prefix, found)
    return found[0]
