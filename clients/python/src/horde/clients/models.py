"""Models: what can be painted with now, and how busy each is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from horde.api.model.v1 import model_service_pb2 as pb
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.clients.doors import Doors

PAGE_SIZE: Final = 100


class Models:
    """The models of the mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = ModelServiceStub(doors.gateway)

    async def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[pb.Model]:
        """Models that somebody offers or waits for, by name, page by page as they are read."""
        request = pb.ListModelsRequest(page_size=page_size)
        while True:
            page = await self._doors.ask(self._stub.ListModels, request)
            for model in page.models:
                yield model
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get(self, name: str) -> pb.Model:
        """One model. Raises ModelNotFound."""
        return (await self._doors.ask(self._stub.GetModel, pb.GetModelRequest(name=name))).model
