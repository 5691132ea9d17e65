"""MeshService on the wire."""

from __future__ import annotations

from typing import Any

from horde.api.mesh.v1 import mesh_service_pb2 as pb
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceServicer
from horde.gateway.doors.reception import Reception

Context = Any


class MeshServicer(MeshServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, mesh: pb.GetMeshResponse) -> None:
        self._reception = reception
        self._mesh = mesh

    async def GetMesh(self, request: pb.GetMeshRequest, context: Context) -> pb.GetMeshResponse:
        await self._reception.visitor(context)
        return self._mesh
