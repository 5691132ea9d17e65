"""What the mesh says of models, asked by anybody: for `stocking suggest`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from horde.api.model.v1.model_service_pb2 import ListModelsRequest, Model
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.services.channel import dial
from horde.services.tls import is_loopback
from horde.worker_agent.core.suggesting import Demand
from horde.worker_agent.core.texts import fit
from horde.worker_agent.doors import ANYBODY
from horde.worker_agent.settings import WorkerSettings

ANSWER_SECONDS = 10.0
MAX_PAGES = 20
MAX_NAME = 128
MAX_HOMEPAGE = 200


async def demands(settings: WorkerSettings, here: Collection[str]) -> list[Demand]:
    """Every model of the mesh; `here` are those that this worker has. Raises ServiceError."""
    tls = settings.tls() or (None if settings.plaintext or is_loopback(settings.gateway) else ANYBODY)
    found: list[Demand] = []
    async with dial(settings.gateway, caller=None, tls=tls, plaintext=settings.plaintext, retry=False) as channel:
        stub: Any = ModelServiceStub(channel)
        token = ""
        for _ in range(MAX_PAGES):
            request = ListModelsRequest(page_size=500, page_token=token)
            answer = await stub.ListModels(request, timeout=ANSWER_SECONDS)
            found += [_demand(model, here) for model in answer.models]
            token = answer.next_page_token
            if not token:
                break
    return found


def _demand(model: Model, here: Collection[str]) -> Demand:
    return Demand(
        fit(model.name, MAX_NAME, one_line=True),
        model.jobs_queued,
        model.workers,
        model.mkudos_an_hour,
        sum(file.size_bytes for file in model.catalogue.files) / (1 << 30),
        fit(model.catalogue.homepage, MAX_HOMEPAGE, one_line=True),
        here=model.name in here,
    )
