"""A gateway at the end of a short wire, between neighbours that hold to the contract and remember what they were asked.

The neighbours decide nothing by themselves: a test lends jobs, paints and ends them by hand. The curation service only
forgets accounts: a test that needs more of it starts one, and says where.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from grpc import aio

from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceStub
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceStub
from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceStub
from horde.api.standing.v1.standing_service_pb2_grpc import StandingServiceStub
from horde.api.statistics.v1.statistics_service_pb2_grpc import StatisticsServiceStub
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.gateway.doors.listeners import ALLOW
from horde.gateway.gateway import Gateway, gateway
from horde.gateway.settings import GatewaySettings
from horde.gateway.store.memory import MemoryIdentityStore
from horde.gateway.store.port import IdentityStore
from horde.gateway.store.secret_files import load_operator_key
from horde.internal.curation.v1.account_service_pb2_grpc import (
    add_AccountServiceServicer_to_server as add_CurationAccountServiceServicer_to_server,
)
from horde.internal.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from horde.internal.scheduler.v1.owner_service_pb2_grpc import add_OwnerServiceServicer_to_server
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import (
    add_SchedulerServiceServicer_to_server,
)
from horde.internal.storage.v1.object_service_pb2_grpc import add_ObjectServiceServicer_to_server
from horde.internal.webhook.v1.news_service_pb2_grpc import add_NewsServiceServicer_to_server
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.identity import AllowList, SharedKey, create_key_file
from horde.services.server import Registration, serving
from horde.testkit.gateway_forgetting import FakeCuration, FakeWebhooks
from horde.testkit.gateway_neighbours import FakeLedger, FakeOwners, FakeStorage
from horde.testkit.gateway_scheduler import FakeRelay, FakeScheduler
from horde.testkit.waiting import HANG

__all__ = ["Bench", "FakeLedger", "FakeRelay", "FakeScheduler", "FakeStorage", "bench"]

GATEWAY_ONLY = frozenset({"gateway"})


class Bench:
    """A gateway between its fake neighbours, and stubs to it."""

    def __init__(
        self, scheduler: FakeScheduler, ledger: FakeLedger, storage: FakeStorage, settings: GatewaySettings
    ) -> None:
        self.scheduler = scheduler
        self.ledger = ledger
        self.storage = storage
        self.settings = settings
        self.target = ""
        self.gateway: Gateway = None  # type: ignore[assignment]
        self.channel: aio.Channel = None  # type: ignore[assignment]
        self.accounts: Any = None
        self.generations: Any = None
        self.meshes: Any = None
        self.models: Any = None
        self.moderation: Any = None
        self.rating: Any = None
        self.releases: Any = None
        self.statistics: Any = None
        self.workers: Any = None
        self.owners = FakeOwners()
        self.curation = FakeCuration()
        self.told_webhooks = FakeWebhooks()
        self.webhooks: Any = None
        self.standings: Any = None

    @property
    def operator(self) -> list[tuple[str, str]]:
        """The operator's credentials."""
        shown = load_operator_key(self.settings.state_dir / "operator.key")
        return [("authorization", f"Bearer {shown.text()}")]


@asynccontextmanager
async def bench(
    state_dir: Path, *, store: IdentityStore | None = None, clock: Clock | None = None, **fields: Any
) -> AsyncIterator[Bench]:
    """A gateway over real sockets. `fields` are settings."""
    scheduler, ledger, storage = FakeScheduler(), FakeLedger(), FakeStorage()  # type: ignore[abstract]
    owners, curation, told_webhooks = FakeOwners(), FakeCuration(), FakeWebhooks()
    key_file = state_dir / "run.key"
    if not key_file.exists():
        create_key_file(key_file)
    names = ("horde.internal.scheduler.v1.SchedulerService", "horde.internal.ledger.v1.LedgerService")
    fakes = {
        "scheduler": [
            Registration(add_SchedulerServiceServicer_to_server, scheduler, names[0]),
            Registration(add_OwnerServiceServicer_to_server, owners, "horde.internal.scheduler.v1.OwnerService"),
        ],
        "ledger": [Registration(add_LedgerServiceServicer_to_server, ledger, names[1])],
        "curation": [
            Registration(
                add_CurationAccountServiceServicer_to_server, curation, "horde.internal.curation.v1.AccountService"
            )
        ],
        "webhooks": [
            Registration(add_NewsServiceServicer_to_server, told_webhooks, "horde.internal.webhook.v1.NewsService")
        ],
        "storage_router": [
            Registration(add_ObjectServiceServicer_to_server, storage, "horde.internal.storage.v1.ObjectService")
        ],
    }
    quick = timedelta(0)
    async with AsyncExitStack() as stack:
        addresses: dict[str, Any] = {}
        for name, registrations in fakes.items():
            allow = AllowList({f"/{registration.name}/*": GATEWAY_ONLY for registration in registrations})
            served = serving(
                "127.0.0.1:0",
                registrations,
                name=name,
                allow=allow,
                identity=SharedKey.from_file(key_file),
                grace=quick,
            )
            addresses[name] = f"127.0.0.1:{(await stack.enter_async_context(served)).port}"
        given = {"public_keys_dir": state_dir / "keys", **addresses, **fields}
        settings = GatewaySettings(state_dir=state_dir, key_file=key_file, **given)
        ready = Bench(scheduler, ledger, storage, settings)
        ready.owners, ready.curation, ready.told_webhooks = owners, curation, told_webhooks
        ready.gateway = await stack.enter_async_context(gateway(settings, store or MemoryIdentityStore(), clock=clock))
        server = await stack.enter_async_context(
            serving(
                "127.0.0.1:0",
                ready.gateway.registrations(),
                name="gateway",
                allow=ALLOW,
                identity=None,
                reflection=True,
                grace=timedelta(seconds=2),
                farewell=ready.gateway.farewell,
                max_message_bytes=settings.max_message_bytes,
                proxies=settings.proxies(),
            )
        )
        ready.target = f"127.0.0.1:{server.port}"
        ready.channel = await stack.enter_async_context(
            dial(ready.target, caller=None, retry=False, wait_for_ready=True, timeout=HANG)
        )
        ready.accounts = AccountServiceStub(ready.channel)
        ready.generations = GenerationServiceStub(ready.channel)
        ready.meshes = MeshServiceStub(ready.channel)
        ready.statistics = StatisticsServiceStub(ready.channel)
        ready.models = ModelServiceStub(ready.channel)
        ready.moderation = ModerationServiceStub(ready.channel)
        ready.rating = RatingServiceStub(ready.channel)
        ready.releases = DataReleaseServiceStub(ready.channel)
        ready.workers = WorkerServiceStub(ready.channel)
        ready.standings = StandingServiceStub(ready.channel)
        yield ready
