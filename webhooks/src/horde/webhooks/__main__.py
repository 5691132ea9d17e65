"""Wiring: settings in, the service run until told to stop."""

from __future__ import annotations

import sys

from horde.services import failpoints, lifecycle
from horde.services.clock import SystemClock
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.services.terms import Replaced
from horde.webhooks.service import NAME, serve
from horde.webhooks.settings import WebhooksSettings


async def run(settings: WebhooksSettings) -> None:
    """Serve until told to stop. Raises Replaced when another has taken over."""
    with telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        async with serve(settings, SystemClock()):
            await lifecycle.until_signalled()


def main() -> int:
    """The process: `python -m horde.webhooks`."""
    settings = load_or_exit(WebhooksSettings)
    configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    failpoints.arm(settings.failpoints)
    return lifecycle.run(
        run(settings),
        stop_seconds=settings.stop_seconds,
        probes=settings.health_listen,
        statuses={Replaced: lifecycle.REPLACED},
    )


if __name__ == "__main__":
    sys.exit(main())
