"""The service put together: settings in, servicers and loops out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from functools import partial

from horde.api.webhook.v1 import webhook_service_pb2
from horde.api.webhook.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from horde.internal.webhook.v1 import news_service_pb2
from horde.internal.webhook.v1.news_service_pb2_grpc import add_NewsServiceServicer_to_server
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.identity import AllowList
from horde.services.ids import Ids, RandomIds
from horde.services.keepalive import LED
from horde.services.leadership import in_charge
from horde.services.loops import Loops
from horde.services.server import Registration, Server, serving
from horde.webhooks.doors.news_servicer import NewsServicer
from horde.webhooks.doors.webhook_servicer import WebhookServicer
from horde.webhooks.following import Following
from horde.webhooks.hearing import Hearing
from horde.webhooks.hooks import Hooks
from horde.webhooks.keeping import sweep
from horde.webhooks.neighbours.ledger import Ledger
from horde.webhooks.neighbours.receivers import Receivers, Resolve, Resolver
from horde.webhooks.neighbours.scheduler import Scheduler
from horde.webhooks.sending import Sending
from horde.webhooks.settings import WebhooksSettings
from horde.webhooks.store.sealing import load_seals
from horde.webhooks.store.sql import sql_store

NAME = "webhooks"
LOCK_KEY = 0x686F726465_776562
"""("horde", "web")."""
GATEWAY = "gateway"

WEBHOOK = webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"].full_name
NEWS = news_service_pb2.DESCRIPTOR.services_by_name["NewsService"].full_name

ALLOW = AllowList({f"/{service}/*": {GATEWAY} for service in (WEBHOOK, NEWS)})


@asynccontextmanager
async def serve(
    settings: WebhooksSettings, clock: Clock, ids: Ids | None = None, resolve: Resolve | None = None
) -> AsyncIterator[Server]:
    """Serve, listen and call for as long as the block. Ends if a loop of it dies."""
    ids = ids or RandomIds()
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    tls = settings.tls() if settings.tls_authorities is not None else None
    neighbour = partial(dial, caller=settings.credentials(NAME), tls=tls, max_message_bytes=16 << 20, keepalive=LED)
    with closing(Resolver()) as resolver:
        async with (
            # One listens and calls, others stand by.
            in_charge(settings.url(), LOCK_KEY, clock),
            sql_store(settings.url()) as store,
            neighbour(settings.ledger, neighbour="ledger") as ledger,
            neighbour(settings.scheduler, neighbour="scheduler", retry=False) as scheduler,
            Loops() as loops,
        ):
            seals = load_seals(settings.secrets_key())
            await store.renew_secrets(seals.renewed)
            receivers = Receivers(settings.reach(), resolve or resolver, settings.receivers_tls())
            sending = Sending(store, receivers, seals, clock, loops)
            following = Following(store, Scheduler(scheduler), sending, clock)
            hearing = Hearing(store, Ledger(ledger), sending, following, clock)
            hooks = Hooks(store, sending, hearing, receivers, seals, clock, ids)
            registrations = (
                Registration(add_WebhookServiceServicer_to_server, WebhookServicer(hooks), WEBHOOK),
                Registration(add_NewsServiceServicer_to_server, NewsServicer(store, sending, clock), NEWS),
            )
            async with serving(
                settings.listener(),
                registrations,
                name=NAME,
                allow=ALLOW,
                identity=settings.identity(),
                reflection=settings.reflection,
                grace=timedelta(seconds=settings.grace_seconds),
                keepalive=LED,
            ) as server:
                loops.start("sending", sending.run())
                loops.start("hearing", hearing.run())
                loops.start("following", following.run())
                loops.start("log", sweep(store, clock))
                yield server
