"""Run the scheduler: `python -m horde.scheduler`."""

from __future__ import annotations

import sys

from horde.scheduler.core.errors import NotLeader
from horde.scheduler.scheduler import NAME, serve
from horde.scheduler.settings import Settings
from horde.services import failpoints, lifecycle
from horde.services.clock import SystemClock
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry


async def run(settings: Settings) -> None:
    """Lead and serve until told to stop. Raises NotLeader when another has taken over."""
    with telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        async with serve(settings, SystemClock()):
            await lifecycle.until_signalled()


def main() -> int:
    """The process."""
    settings = load_or_exit(Settings)
    configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    failpoints.arm(settings.failpoints)
    return lifecycle.run(
        run(settings),
        stop_seconds=settings.stop_seconds,
        probes=settings.health_listen,
        statuses={NotLeader: lifecycle.REPLACED},
    )


if __name__ == "__main__":
    sys.exit(main())
