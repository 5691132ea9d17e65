"""Wiring: settings in, the store opened, the writer put in charge, the server run."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Final

from horde.ledger.core.errors import WriterReplaced
from horde.ledger.core.permissions import METHODS
from horde.ledger.doors.service import LedgerService
from horde.ledger.doors.servicer import ledger_registration
from horde.ledger.settings import LedgerSettings
from horde.ledger.store.sql import sql_store
from horde.ledger.store.statistics import follow
from horde.ledger.store.statistics_sql import sql_statistics
from horde.ledger.writer import Writer
from horde.services import failpoints, lifecycle
from horde.services.clock import SystemClock
from horde.services.identity import AllowList
from horde.services.keepalive import LED
from horde.services.leadership import in_charge
from horde.services.loops import Loops
from horde.services.server import serving
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry

LOCK_KEY: Final = 0x686F726465_6C6467
"""Of the one shard there is ("horde", "ldg")."""
TURN_S: Final = 0.0005
"""How long a thread may keep Python to itself while others wait. By default it is 5 ms: so long would the thread that
commits, and the database with it, wait after each trip while the next batch is being decided."""


async def run(settings: LedgerSettings) -> None:
    """Lead when it is our turn, and serve until told to stop. Raises WriterReplaced when another has taken over."""
    economy, clock, url = settings.economy(), SystemClock(), settings.url()
    with telemetry(service="ledger", endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        async with (
            in_charge(url, LOCK_KEY, clock),
            sql_store(url) as store,
            sql_statistics(settings.statistics()) as statistics,
            Writer(store, economy, clock, settings.max_batch) as writer,
            Loops() as loops,
            serving(
                settings.listener(),
                [ledger_registration(LedgerService(writer, store, economy, clock, statistics))],
                name="ledger",
                allow=AllowList(METHODS),
                identity=settings.identity(),
                reflection=settings.reflection,
                farewell=writer.farewell,
                grace=timedelta(seconds=settings.grace_seconds),
                keepalive=LED,
            ),
        ):
            loops.start("statistics", follow(store, writer, statistics, clock))
            await lifecycle.until_signalled()
            loops.leave()


def main() -> int:
    """The process: `python -m horde.ledger`."""
    settings = load_or_exit(LedgerSettings)
    configure_logs(level=settings.log_level, form=settings.log_format, service="ledger")
    failpoints.arm(settings.failpoints)
    sys.setswitchinterval(TURN_S)
    return lifecycle.run(
        run(settings),
        stop_seconds=settings.stop_seconds,
        probes=settings.health_listen,
        statuses={WriterReplaced: lifecycle.REPLACED},
    )


if __name__ == "__main__":
    sys.exit(main())
