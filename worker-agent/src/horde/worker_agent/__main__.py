"""Starts a worker: `python -m horde.worker_agent`. `--help` lists the settings."""

from __future__ import annotations

import asyncio
import sys

from horde.services import failpoints, lifecycle
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.worker_agent.attach import Dismissed
from horde.worker_agent.running import CannotStart, run_worker
from horde.worker_agent.settings import WorkerSettings

CANNOT_START = 2
"""The exit status where something that the worker needs is missing: a key, a model, its folder."""
DISMISSED = 3
"""The exit status of a worker that the mesh does not want as it is: starting it again will not help."""


class CommandLine(WorkerSettings, cli_parse_args=True, cli_prog_name="horde.worker_agent", cli_kebab_case=True):
    """Lend this machine to the horde: paint for others, earn kudos."""


async def run(settings: WorkerSettings) -> None:
    """Work until told to stop. Raises Dismissed, CannotStart."""
    configure_logs(level=settings.log_level, form=settings.log_format, service="worker")
    failpoints.arm(settings.failpoints)
    with telemetry(service="worker-agent", endpoint=settings.telemetry_endpoint):
        stop = asyncio.create_task(lifecycle.until_signalled())
        try:
            await run_worker(settings, stop)
        finally:
            stop.cancel()


def main() -> int:
    """Run, and say the exit status."""
    settings = load_or_exit(CommandLine)
    try:
        return lifecycle.run(run(settings))
    except Dismissed as dismissed:
        sys.stderr.write(f"the mesh does not take this worker: {dismissed}\n")
        return DISMISSED
    except CannotStart as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
