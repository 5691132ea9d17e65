"""ModelService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.model.v1 import model_service_pb2 as pb
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceServicer
from horde.gateway.doors.authentication import Reception
from horde.gateway.doors.workers import Workers

Context = Any


class ModelServicer(ModelServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, workers: Workers) -> None:
        self._reception = reception
        self._workers = workers

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        await self._reception.passer_by(context)
        return await self._workers.models(request)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        await self._reception.passer_by(context)
        return pb.GetModelResponse(model=await self._workers.model(request.name))
