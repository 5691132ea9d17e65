"""The whole scheduler: what it needs, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from horde.scheduler.doors.owners import owner_registration
from horde.scheduler.doors.servicer import ALLOW, scheduler_registration
from horde.scheduler.engine import leading
from horde.scheduler.janitor import sweep
from horde.scheduler.neighbours.ledger import GrpcLedger
from horde.scheduler.neighbours.storage import GrpcStorage
from horde.scheduler.settings import Settings
from horde.scheduler.store.sql import sql_store
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.ids import RandomIds
from horde.services.keepalive import LED
from horde.services.leadership import in_charge
from horde.services.loops import Loops
from horde.services.server import serving

NAME = "scheduler"
LOCK_KEY = 0x686F726465_736368
"""Of the one pool of models there is ("horde", "sch")."""
TIMEOUT = timedelta(seconds=20)
"""For a batch of a neighbour's work; it is repeated, whatever came of it."""
MAX_MESSAGE = 16 << 20
"""Bytes. Batches are cut far below it; this is the second belt."""


@asynccontextmanager
async def serve(settings: Settings, clock: Clock) -> AsyncIterator[None]:
    """Wait until nobody else leads, then lead and serve for as long as the block.

    Raises NotLeader, in an exception group, when another has taken over.
    """
    neighbour = partial(
        dial, caller=settings.credentials(NAME), tls=settings.tls(), timeout=TIMEOUT, retry=False,
        max_message_bytes=MAX_MESSAGE,
    )  # fmt: skip
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with (
        in_charge(settings.database(), LOCK_KEY, clock),
        sql_store(settings.database()) as store,
        neighbour(settings.ledger, neighbour="ledger", keepalive=LED) as ledger,
        neighbour(settings.storage_router, neighbour="storage router") as storage,
        leading(
            store, GrpcLedger(ledger), GrpcStorage(storage), settings.grants(clock), clock, RandomIds(),
            limits=settings.limits(), commit_pause=settings.commit_pause_seconds,
        ) as engine,
        Loops() as loops,
        serving(
            settings.listener(),
            [scheduler_registration(engine), owner_registration(engine.owners), engine.scaler.registration],
            name=NAME,
            allow=ALLOW,
            identity=settings.identity(),
            reflection=settings.reflection,
            farewell=engine.farewell,
            grace=timedelta(seconds=settings.grace_seconds),
            max_message_bytes=MAX_MESSAGE,
            keepalive=LED,
        ),
    ):  # fmt: skip
        loops.start("janitor", sweep(engine.term, settings.history_days))
        yield
