"""The two doors: which services are served where, all of them for end users, who bring their own credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from horde.api.account.v1 import account_service_pb2
from horde.api.account.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from horde.api.generation.v1 import generation_service_pb2
from horde.api.generation.v1.generation_service_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from horde.api.mesh.v1 import mesh_service_pb2
from horde.api.mesh.v1.mesh_service_pb2_grpc import add_MeshServiceServicer_to_server
from horde.api.model.v1 import model_service_pb2
from horde.api.model.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from horde.api.moderation.v1 import moderation_service_pb2
from horde.api.moderation.v1.moderation_service_pb2_grpc import (
    ModerationServiceServicer,
    add_ModerationServiceServicer_to_server,
)
from horde.api.rating.v1 import rating_service_pb2
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceServicer, add_RatingServiceServicer_to_server
from horde.api.release.v1 import data_release_service_pb2
from horde.api.release.v1.data_release_service_pb2_grpc import (
    DataReleaseServiceServicer,
    add_DataReleaseServiceServicer_to_server,
)
from horde.api.standing.v1 import standing_service_pb2
from horde.api.standing.v1.standing_service_pb2_grpc import add_StandingServiceServicer_to_server
from horde.api.statistics.v1 import statistics_service_pb2
from horde.api.statistics.v1.statistics_service_pb2_grpc import add_StatisticsServiceServicer_to_server
from horde.api.webhook.v1 import webhook_service_pb2
from horde.api.webhook.v1.webhook_service_pb2_grpc import WebhookServiceServicer, add_WebhookServiceServicer_to_server
from horde.api.worker.v1 import worker_service_pb2
from horde.api.worker.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from horde.gateway.doors.account_servicer import AccountServicer
from horde.gateway.doors.mesh_servicer import MeshServicer
from horde.gateway.doors.model_servicer import ModelServicer
from horde.gateway.doors.standing_servicer import StandingServicer
from horde.gateway.doors.statistics_servicer import StatisticsServicer
from horde.gateway.doors.worker_servicer import WorkerServicer
from horde.services.identity import PUBLIC, AllowList
from horde.services.server import Registration

ACCOUNT = account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name
GENERATION = generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name
MESH = mesh_service_pb2.DESCRIPTOR.services_by_name["MeshService"].full_name
MODERATION = moderation_service_pb2.DESCRIPTOR.services_by_name["ModerationService"].full_name
MODEL = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
STANDING = standing_service_pb2.DESCRIPTOR.services_by_name["StandingService"].full_name
RATING = rating_service_pb2.DESCRIPTOR.services_by_name["RatingService"].full_name
RELEASES = data_release_service_pb2.DESCRIPTOR.services_by_name["DataReleaseService"].full_name
STATISTICS = statistics_service_pb2.DESCRIPTOR.services_by_name["StatisticsService"].full_name
WEBHOOK = webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"].full_name
WORKER = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name

ALLOW = AllowList(
    {
        f"/{service}/*": PUBLIC
        for service in (
            ACCOUNT,
            GENERATION,
            MESH,
            MODEL,
            MODERATION,
            RATING,
            RELEASES,
            STANDING,
            STATISTICS,
            WEBHOOK,
            WORKER,
        )
    }
)

Doors = Literal["requesters", "workers", "both"]


def registrations(
    doors: Doors,
    accounts: AccountServicer,
    generations: GenerationServiceServicer,
    models: ModelServicer,
    workers: WorkerServicer,
    mesh: MeshServicer,
    statistics: StatisticsServicer,
    standing: StandingServicer,
    moderation: ModerationServiceServicer,
    rating: RatingServiceServicer,
    releases: DataReleaseServiceServicer,
    webhooks: WebhookServiceServicer,
) -> Sequence[Registration]:
    """What is served. Both doors answer about workers and models; requesters' door holds no worker's stream."""
    requesters = [
        Registration(add_AccountServiceServicer_to_server, accounts, ACCOUNT),
        Registration(add_GenerationServiceServicer_to_server, generations, GENERATION),
        Registration(add_MeshServiceServicer_to_server, mesh, MESH),
        Registration(add_ModelServiceServicer_to_server, models, MODEL),
        Registration(add_StandingServiceServicer_to_server, standing, STANDING),
        Registration(add_StatisticsServiceServicer_to_server, statistics, STATISTICS),
        Registration(add_ModerationServiceServicer_to_server, moderation, MODERATION),
        Registration(add_RatingServiceServicer_to_server, rating, RATING),
        Registration(add_DataReleaseServiceServicer_to_server, releases, RELEASES),
        Registration(add_WebhookServiceServicer_to_server, webhooks, WEBHOOK),
    ]
    workers_door = [Registration(add_WorkerServiceServicer_to_server, workers, WORKER)]
    return {"requesters": requesters, "workers": workers_door, "both": requesters + workers_door}[doors]
