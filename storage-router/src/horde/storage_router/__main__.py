"""Wiring: settings in, the router served until told to stop."""

from __future__ import annotations

from horde.services import failpoints, lifecycle
from horde.services.clock import SystemClock
from horde.services.exiting import run_program
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.storage_router.router import NAME, serve
from horde.storage_router.settings import StorageRouterSettings


async def run(settings: StorageRouterSettings) -> None:
    """Serve until told to stop."""
    with telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        async with serve(settings, SystemClock()):
            await lifecycle.until_signalled()


def main() -> int:
    """The process: `python -m horde.storage_router`."""
    settings = load_or_exit(StorageRouterSettings)
    configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    failpoints.arm(settings.failpoints)
    return lifecycle.run(run(settings), stop_seconds=settings.stop_seconds, probes=settings.health_listen)


if __name__ == "__main__":
    run_program(main)
