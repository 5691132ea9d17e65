"""`python -m horde.gateway`: settings in, adapters built, server run."""

from __future__ import annotations

import sys
from datetime import timedelta

from horde.gateway.doors.listeners import ALLOW
from horde.gateway.gateway import NAME, database_url, gateway
from horde.gateway.settings import GatewaySettings
from horde.gateway.store.sql import sql_store
from horde.services import failpoints, lifecycle
from horde.services.brakes import Brake
from horde.services.clock import SystemClock
from horde.services.cutting import Cutter
from horde.services.server import serving
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry


async def run(settings: GatewaySettings) -> None:
    """Serve until signalled."""
    failpoints.arm(settings.failpoints)
    async with (
        sql_store(database_url(settings)) as store,
        gateway(settings, store) as built,
        serving(
            settings.door(require_client=settings.client_certificates),
            built.registrations(),
            name=NAME,
            allow=ALLOW,
            identity=None,
            reflection=settings.reflection,
            grace=timedelta(seconds=settings.grace_seconds),
            farewell=built.farewell,
            max_message_bytes=settings.max_message_bytes,
            proxies=settings.proxies(),
            brake=Brake(SystemClock(), cuts=Cutter()) if settings.brake else None,
        ),
    ):
        await lifecycle.until_signalled()


def main() -> int:
    """Start the gateway; the exit status."""
    settings = load_or_exit(GatewaySettings)
    configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    with telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        return lifecycle.run(run(settings), stop_seconds=settings.stop_seconds, probes=settings.health_listen)


if __name__ == "__main__":
    sys.exit(main())
