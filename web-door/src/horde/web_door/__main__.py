"""`python -m horde.web_door`: settings in, neighbours dialled, HTTP served."""

from __future__ import annotations

import sys

from horde.services import failpoints, lifecycle
from horde.services.clock import SystemClock
from horde.services.loops import Loops
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.web_door.app import build_app
from horde.web_door.neighbours.mesh import mesh
from horde.web_door.serving import serving_http
from horde.web_door.settings import WebDoorSettings

NAME = "web-door"


async def run(settings: WebDoorSettings) -> None:
    """Serve until signalled."""
    failpoints.arm(settings.failpoints)
    async with (
        mesh(settings.gateway, tls=settings.outward_tls(), plaintext=settings.gateway_plaintext) as neighbours,
        Loops() as loops,
        serving_http(settings, build_app(settings, neighbours, SystemClock(), loops), loops),
    ):
        await lifecycle.until_signalled()


def main() -> int:
    """Start the web door; the exit status."""
    settings = load_or_exit(WebDoorSettings)
    configure_logs(level=settings.log_level, form=settings.log_format, service=NAME)
    with telemetry(service=NAME, endpoint=settings.telemetry_endpoint, prometheus=settings.metrics_listen):
        return lifecycle.run(run(settings), stop_seconds=settings.stop_seconds, probes=settings.health_listen)


if __name__ == "__main__":
    sys.exit(main())
