"""What an orchestrator asks a process, at a port of its own: kubelets bring no certificate, standbys do not serve yet.

The standard health check, in plain and of nothing else: "live" is SERVING from the first moment to the last (the event
loop turns), "" as soon as the service takes calls, and "fit" also while it stands by for whoever leads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

LIVE: Final = "live"
"""The name under which a process says that it runs."""
FIT: Final = "fit"
"""And that it takes calls, or will as soon as the leader is gone: a rollout may go on to the next pod."""

_checks: health.aio.HealthServicer | None = None


@asynccontextmanager
async def probed(listen: str) -> AsyncIterator[None]:
    """Answer probes at HOST:PORT for as long as the block; nowhere, if it is empty. RuntimeError if it is taken."""
    global _checks
    if not listen:
        yield
        return
    # Two processes on one port would share its probes between them, silently.
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    _checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(_checks, server)
    await _checks.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
    await ready(False)
    try:
        server.add_insecure_port(listen)
    except RuntimeError:
        await server.stop(0)
        raise
    await server.start()
    try:
        yield
    finally:
        _checks = None
        await server.stop(0)


async def ready(serving: bool) -> None:
    """Say to probes whether this process takes calls."""
    if _checks is not None:
        status = health_pb2.HealthCheckResponse
        await _checks.set("", status.SERVING if serving else status.NOT_SERVING)
    await fit(serving)


async def fit(able: bool) -> None:
    """Say to probes whether this process could take over, if it does not take calls already."""
    if _checks is not None:
        status = health_pb2.HealthCheckResponse
        await _checks.set(FIT, status.SERVING if able else status.NOT_SERVING)
