"""The public contract as its descriptors say it: services, methods, and the messages that they take and give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from horde.api.account.v1 import account_service_pb2
from horde.api.generation.v1 import generation_service_pb2
from horde.api.mesh.v1 import mesh_service_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.moderation.v1 import moderation_service_pb2
from horde.api.rating.v1 import rating_service_pb2
from horde.api.release.v1 import data_release_service_pb2
from horde.api.standing.v1 import standing_service_pb2
from horde.api.statistics.v1 import statistics_service_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.api.style.v1 import style_service_pb2
from horde.api.team.v1 import team_service_pb2
from horde.api.webhook.v1 import webhook_service_pb2
from horde.api.worker.v1 import worker_service_pb2

CONTRACT: tuple[Any, ...] = (
    account_service_pb2,
    generation_service_pb2,
    mesh_service_pb2,
    model_service_pb2,
    moderation_service_pb2,
    rating_service_pb2,
    data_release_service_pb2,
    standing_service_pb2,
    statistics_service_pb2,
    storage_service_pb2,
    style_service_pb2,
    team_service_pb2,
    webhook_service_pb2,
    worker_service_pb2,
)
"""Every file of the public contract that holds a service."""


@dataclass(frozen=True)
class Rpc:
    """A method of the contract."""

    descriptor: MethodDescriptor
    request: type[Message]
    response: type[Message]

    @property
    def path(self) -> str:
        """Its name on the wire: `/horde.api.mesh.v1.MeshService/GetMesh`."""
        return f"/{self.service.full_name}/{self.descriptor.name}"

    @property
    def service(self) -> ServiceDescriptor:
        service: ServiceDescriptor = self.descriptor.containing_service
        return service

    @property
    def package(self) -> str:
        package: str = self.service.file.package
        return package


def services() -> Iterator[ServiceDescriptor]:
    """The services of the public contract."""
    for module in CONTRACT:
        yield from module.DESCRIPTOR.services_by_name.values()


def rpcs() -> Iterator[Rpc]:
    """All methods of the public contract."""
    for service in services():
        for method in service.methods:
            yield Rpc(method, GetMessageClass(method.input_type), GetMessageClass(method.output_type))
