"""The gateway, put together: its parts, and how long each of them lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from grpc import aio

from horde.gateway.core.closing import Exports
from horde.gateway.core.previews import Previews
from horde.gateway.doors.account_closing import AccountClosing
from horde.gateway.doors.account_life import AccountLife
from horde.gateway.doors.account_operating import AccountOperating
from horde.gateway.doors.account_servicer import AccountServicer
from horde.gateway.doors.accounts import Accounts
from horde.gateway.doors.allowances import Allowances
from horde.gateway.doors.authentication import Authenticator
from horde.gateway.doors.catalogue import Catalogue, read_catalogue
from horde.gateway.doors.curated import Curated
from horde.gateway.doors.enforcing import Enforcement
from horde.gateway.doors.filter_servicer import FilterServicer
from horde.gateway.doors.filtering import Filters
from horde.gateway.doors.generation_servicer import GenerationServicer
from horde.gateway.doors.generations import Generations
from horde.gateway.doors.listeners import registrations
from horde.gateway.doors.mesh import describe_mesh
from horde.gateway.doors.mesh_servicer import MeshServicer
from horde.gateway.doors.model_servicer import ModelServicer
from horde.gateway.doors.passes import PassHolders
from horde.gateway.doors.preview_news import PreviewNews
from horde.gateway.doors.reception import Reception
from horde.gateway.doors.redrawing import Redrawing
from horde.gateway.doors.relay import Relay
from horde.gateway.doors.restriction_news import RestrictionNews
from horde.gateway.doors.shared_keys import SharedKeys
from horde.gateway.doors.standing import Standing
from horde.gateway.doors.standing_servicer import StandingServicer
from horde.gateway.doors.statistics import Statistics
from horde.gateway.doors.statistics_servicer import StatisticsServicer
from horde.gateway.doors.tickets import Tickets
from horde.gateway.doors.watching import Watching
from horde.gateway.doors.worker_servicer import WorkerServicer
from horde.gateway.doors.workers import Workers
from horde.gateway.neighbours.curation import CurationClient
from horde.gateway.neighbours.ledger import Balances, LedgerClient
from horde.gateway.neighbours.owners import OwnersClient
from horde.gateway.neighbours.records import Records
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.neighbours.storage import StorageClient
from horde.gateway.neighbours.webhooks import WebhooksClient
from horde.gateway.settings import GatewaySettings
from horde.gateway.store.port import IdentityStore
from horde.gateway.store.secret_files import load_operator_key, load_passes, load_peppers
from horde.services.channel import dial
from horde.services.clock import Clock, SystemClock
from horde.services.identity import Credentials
from horde.services.ids import Ids, RandomIds
from horde.services.keepalive import KEEPALIVE, LED, Keepalive
from horde.services.lifecycle import CannotStart
from horde.services.loops import Loops
from horde.services.server import Registration
from horde.services.shared.memory import InProcess
from horde.services.shared.port import Shared
from horde.services.shared.redis import redis_shared
from horde.services.telemetry import get_logger
from horde.services.tokens import Signer

log = get_logger(__name__)

NAME = "gateway"
REVOKED = "revoked"
"""The topic on which replicas tell each other of keys that were revoked."""


class Gateway:
    """All parts of the gateway."""

    def __init__(
        self,
        settings: GatewaySettings,
        store: IdentityStore,
        *,
        scheduler: aio.Channel,
        scheduler_streams: aio.Channel,
        ledger: aio.Channel,
        storage: aio.Channel,
        curation: aio.Channel,
        webhooks: aio.Channel,
        shared: Shared,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._settings = settings
        self._store = store
        self._pepper_file = settings.pepper_file or settings.state_dir / "pepper"
        self._peppers = peppers = load_peppers(self._pepper_file)
        signing_key = settings.signing_key_file or settings.state_dir / "tickets.pem"
        signer = Signer.from_file(signing_key, NAME, settings.public_keys_dir)
        self.scheduler = SchedulerClient(scheduler, scheduler_streams)
        self.ledger = LedgerClient(ledger)
        balances = Balances(self.ledger, clock)
        self._records = Records(self.ledger, clock)
        tickets = Tickets(
            signer,
            clock,
            address=settings.storage_public_address or settings.storage_router,
            image_lifetime=timedelta(seconds=settings.image_ticket_seconds),
            input_lifetime=timedelta(seconds=settings.input_ticket_seconds),
            max_input_bytes=settings.max_input_bytes,
        )
        self.enforcement = Enforcement(store, shared, clock)
        self.filters = Filters(store, shared, clock, ids)
        self.previews = Previews(clock)
        gateway_id = str(ids.new())
        self.preview_news = PreviewNews(self.previews, shared, clock, gateway_id)
        self.watching = Watching(self.scheduler, tickets, self.preview_news, clock, max_watchers=settings.max_watchers)
        self.redrawing = Redrawing(self.previews, clock)
        self.relay = Relay(
            self.scheduler,
            self.previews,
            self.redrawing.show,
            clock,
            gateway_id=gateway_id,
            max_sessions=settings.max_sessions,
            on_worker=self.enforcement.on_worker,
        )
        self.enforcement.on_change(self.relay.look_at_restrictions)
        self.enforcement.on_change(lambda: self.watching.look_at_bans(self.enforcement.ban_of))
        self._shared = shared
        shared.subscribe(REVOKED, lambda news: self._forget_key(news.decode(errors="replace")))
        self._passes = load_passes(settings.pass_key_file or settings.state_dir / "pass.key")
        holders = PassHolders(self.scheduler, self._passes)
        self.authenticator = Authenticator(store, peppers, clock, holders.principal)
        self.reception = Reception(self.authenticator, shared, settings.rates(), clock, self.enforcement)
        self.accounts = Accounts(
            store,
            self.ledger,
            balances,
            self.authenticator,
            peppers,
            clock,
            ids,
            registration_open=settings.registration_open,
            revoked=self._revoke_key,
        )
        self.catalogue = Catalogue(self.scheduler, clock, read_catalogue(settings.catalogue_file))
        storage_client = StorageClient(storage)
        self.generations = Generations(
            self.scheduler,
            storage_client,
            balances,
            tickets,
            self.catalogue,
            self.filters,
            consent_text_version=settings.consent_text_version,
            max_input_pixels=settings.max_input_pixels,
        )
        exports = Exports(peppers)
        webhooks_client = WebhooksClient(webhooks)
        self.life = AccountLife(store, self.ledger, self.scheduler, exports, clock)
        self.closing = AccountClosing(
            store,
            self.ledger,
            self.scheduler,
            storage_client,
            CurationClient(curation),
            webhooks_client,
            exports,
            clock,
            revoked=self._revoke_key,
        )
        self.operating = AccountOperating(store, self.ledger, self.authenticator, clock, ids)
        self.allowances = Allowances(store, self.scheduler, clock, ids)
        self.shared_keys = SharedKeys(store, self.allowances, peppers, clock, changed=self._revoke_key)
        self.workers = Workers(self.scheduler)
        self.standing = Standing(
            store, self.ledger, self.scheduler, OwnersClient(scheduler), self.enforcement, clock, ids
        )
        self.mesh = describe_mesh(settings)
        self.statistics = Statistics(self.ledger, self.scheduler, self.catalogue, store, clock)
        self.curated = Curated(self.reception, curation, webhooks, clock)
        self.restriction_news = RestrictionNews(store, self.scheduler, webhooks_client, self.enforcement, clock)

    def registrations(self) -> Sequence[Registration]:
        """The services of the doors that are open here."""
        # What these lack is answered UNIMPLEMENTED by the chassis.
        return registrations(
            self._settings.doors,
            AccountServicer(self.reception, self.accounts, self.life, self.closing, self.operating, self.shared_keys),
            self.curated.shared(
                GenerationServicer(  # type: ignore[abstract]
                    self.reception, self.generations, self.watching, self.allowances, self._passes
                )
            ),
            ModelServicer(self.reception, self.catalogue),
            WorkerServicer(self.reception, self.relay, self.workers, self._records),
            MeshServicer(self.reception, self.mesh),
            StatisticsServicer(self.reception, self.statistics),
            StandingServicer(self.reception, self.standing),
            self.curated.moderation(FilterServicer(self.reception, self.filters)),  # type: ignore[abstract]
            self.curated.rating(),
            self.curated.releases(),
            self.curated.webhooks(),
        )

    async def _check_peppers(self) -> None:
        """Raise CannotStart where every key in the database was made with a pepper that is not here: nobody could sign
        in, and new keys would stand beside them."""
        if await self._store.only_strange_peppers(self._peppers.ids):
            raise CannotStart(
                f"{self._pepper_file} is not the pepper that the API keys in the database were made with: all of them "
                f"would be unknown. Name the file with that pepper in {self._settings.variable('pepper_file')} (`horde "
                "up` keeps it as `pepper` beside the database), or begin with an empty database: name another "
                f"{self._settings.variable('state_dir')} or {self._settings.variable('database_url')}"
            )

    def _revoke_key(self, api_key_id: str) -> None:
        """Believe a key no longer, here at once and at every other replica as soon as it hears."""
        self._forget_key(api_key_id)
        self._shared.publish(REVOKED, api_key_id.encode())

    def _forget_key(self, api_key_id: str) -> None:
        self.authenticator.forget(api_key_id)
        self.relay.revoke(api_key_id)

    async def farewell(self) -> None:
        """Tell all long streams that this end is going away."""
        await self.watching.farewell()
        await self.relay.farewell()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take calls, and keep the streams of the open doors, for as long as the block. Ends if any of it fails."""
        await self._check_peppers()
        await self.accounts.ensure_operator(
            load_operator_key(self._settings.operator_key_file or self._settings.state_dir / "operator.key")
        )
        await self.enforcement.load()
        await self.filters.load()
        doors = self._settings.doors
        async with self.scheduler.running(), self.ledger.running(), Loops() as loops:
            loops.start("restrictions", self.enforcement.run())
            loops.start("filters", self.filters.run())
            loops.start("key use", self.authenticator.keep_use())
            if doors != "workers":
                loops.start("accounts", self.accounts.open_at_ledger())
                loops.start("restriction news", self.restriction_news.run())
                loops.start("closing", self.closing.run())
                loops.start("shared keys", self.allowances.keep_settled())
                loops.start("watching", self.watching.run())
            loops.start("previews", self.preview_news.run())
            if doors != "requesters":
                loops.start("relay", self.relay.run())
                loops.start("redrawing", self.redrawing.run())
            yield


@asynccontextmanager
async def gateway(
    settings: GatewaySettings,
    store: IdentityStore,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    shared: Shared | None = None,
) -> AsyncIterator[Gateway]:
    """The gateway with channels to its neighbours, running for as long as the block.

    `shared` is what it shares with other replicas, unless the settings name a Redis.
    """
    clock = clock or SystemClock()
    caller = Credentials.from_key_file(NAME, settings.key_file) if settings.key_file is not None else None
    tls = settings.tls() if settings.tls_authorities is not None else None
    async with AsyncExitStack() as stack:

        async def channel(
            neighbour: str,
            address: str,
            *,
            retry: bool = True,
            keepalive: Keepalive = KEEPALIVE,
            seconds: float = 10,
        ) -> aio.Channel:
            dialled = dial(
                address,
                caller=caller,
                tls=tls,
                timeout=timedelta(seconds=seconds),
                retry=retry,
                max_message_bytes=16 * 1024 * 1024,
                keepalive=keepalive,
                neighbour=neighbour,
            )
            return await stack.enter_async_context(dialled)

        if redis := settings.redis():
            shared = await stack.enter_async_context(redis_shared(redis, clock, NAME))
        log.info("limits and previews", at=redis.where if redis else "this process alone: no HORDE_GATEWAY_REDIS_URL")
        built = Gateway(
            settings,
            store,
            scheduler=await channel("scheduler", settings.scheduler, keepalive=LED),
            scheduler_streams=await channel("scheduler (streams)", settings.scheduler, retry=False, keepalive=LED),
            ledger=await channel("ledger", settings.ledger, keepalive=LED),
            storage=await channel("storage router", settings.storage_router),
            curation=await channel("curation", settings.curation, keepalive=LED),
            # A receiver that is tried now has 15 s for its answer.
            webhooks=await channel("webhooks", settings.webhooks, keepalive=LED, seconds=30),
            shared=shared or InProcess(clock),
            clock=clock,
            ids=ids or RandomIds(),
        )
        await stack.enter_async_context(built.running())
        yield built


def database_url(settings: GatewaySettings) -> str:
    """Where identity is kept."""
    if settings.database_url:
        return settings.database_url
    folder: Path = settings.state_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{folder / 'identity.sqlite'}"
