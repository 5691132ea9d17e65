"""What a mesh is, before anything is asked of it."""

from __future__ import annotations

from horde.api.mesh.v1 import mesh_service_pb2 as pb
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.clients.doors import Doors


class Mesh:
    """The mesh itself."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = MeshServiceStub(doors.gateway)

    async def show(self) -> pb.GetMeshResponse:
        """Its name, what it serves and takes, and the text that people agree to when they share. Needs no credential.
        Raises Unimplemented where a mesh is older than this.
        """
        return await self._doors.ask(self._stub.GetMesh, pb.GetMeshRequest())
