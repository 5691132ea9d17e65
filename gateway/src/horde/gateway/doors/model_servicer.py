"""ModelService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.model.v1 import model_service_pb2 as pb
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceServicer
from horde.gateway.doors.catalogue import Catalogue
from horde.gateway.doors.reception import Reception

Context = Any


class ModelServicer(ModelServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, catalogue: Catalogue) -> None:
        self._reception = reception
        self._catalogue = catalogue

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        await self._reception.visitor(context)
        return await self._catalogue.page(request)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        await self._reception.visitor(context)
        return pb.GetModelResponse(model=await self._catalogue.model(request.name))
