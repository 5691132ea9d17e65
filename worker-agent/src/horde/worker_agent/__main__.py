"""Starts a worker: `python -m horde.worker_agent`. `--help` lists the settings."""

from __future__ import annotations

import asyncio
import sys

from horde.services import failpoints, lifecycle
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.worker_agent.attach import Dismissed
from horde.worker_agent.running import run_worker
from horde.worker_agent.settings import WorkerSettings, find_config

DISMISSED = 3
"""The exit status of a worker that the mesh does not want as it is: starting it again will not help."""


async def run(settings: WorkerSettings) -> None:
    """Work until told to stop. Raises Dismissed, in a group, and CannotStart."""
    configure_logs(level=settings.log_level, form=settings.log_format, service="worker")
    failpoints.arm(settings.failpoints)
    with telemetry(service="worker-agent", endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        stop = asyncio.create_task(lifecycle.until_signalled())
        try:
            await run_worker(settings, stop)
        finally:
            stop.cancel()


def main() -> int:
    """Run, and say the exit status."""
    find_config(sys.argv[1:])
    settings = load_or_exit(WorkerSettings)
    return lifecycle.run(
        run(settings),
        stop_seconds=settings.stop_seconds,
        statuses={Dismissed: DISMISSED},
        probes=settings.health_listen,
    )


if __name__ == "__main__":
    sys.exit(main())
