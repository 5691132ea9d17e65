"""Run the scheduler: `python -m horde.scheduler`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from functools import partial

from horde.scheduler.engine import leading
from horde.scheduler.errors import NotLeader
from horde.scheduler.janitor import sweep
from horde.scheduler.leadership import in_charge
from horde.scheduler.ledger_client import GrpcLedger
from horde.scheduler.servicer import ALLOW, scheduler_registration
from horde.scheduler.settings import Settings
from horde.scheduler.storage_client import GrpcStorage
from horde.scheduler.store_sql import sql_store
from horde.services import failpoints, lifecycle
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.ids import RandomIds
from horde.services.server import serving
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry

REPLACED = 3
"""The exit status when another has taken over."""
TIMEOUT = timedelta(seconds=20)
"""For a batch of a neighbour's work; it is repeated, whatever came of it."""

MAX_MESSAGE = 16 << 20
"""Bytes. Batches are cut far below it; this is the second belt."""


async def run(settings: Settings) -> None:
    """Lead and serve until told to stop. Raises NotLeader when another has taken over."""
    clock, me, tls = SystemClock(), settings.credentials("scheduler"), settings.tls()
    neighbour = partial(dial, caller=me, tls=tls, timeout=TIMEOUT, retry=False, max_message_bytes=MAX_MESSAGE)
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with telemetry(service="scheduler", endpoint=settings.telemetry_endpoint):
        async with (
            in_charge(settings.database(), clock),
            sql_store(settings.database()) as store,
            neighbour(settings.ledger) as ledger,
            neighbour(settings.storage_router) as storage,
            leading(
                store, GrpcLedger(ledger), GrpcStorage(storage), settings.grants(clock), clock, RandomIds(),
                limits=settings.limits(), commit_pause=settings.commit_pause_seconds,
            ) as engine,
            serving(
                settings.listener(),
                [scheduler_registration(engine)],
                name="scheduler",
                allow=ALLOW,
                identity=settings.identity(),
                reflection=settings.reflection,
                farewell=engine.farewell,
                max_message_bytes=MAX_MESSAGE,
            ),
            asyncio.TaskGroup() as tasks,
        ):  # fmt: skip
            sweeping = tasks.create_task(sweep(engine, settings.history_days))
            await lifecycle.until_signalled()
            sweeping.cancel()


def main() -> int:
    """The process: `python -m horde.scheduler`."""
    settings = load_or_exit(Settings)
    configure_logs(level=settings.log_level, form=settings.log_format, service="scheduler")
    failpoints.arm(settings.failpoints)
    replaced = False
    try:
        return lifecycle.run(run(settings))
    except* NotLeader:
        replaced = True
    return REPLACED if replaced else 1


if __name__ == "__main__":
    sys.exit(main())
